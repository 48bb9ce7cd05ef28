# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=${VERSION}" \
    -o /out/nchat-realtime ./cmd/nchat-realtime

# No shell, no package manager, user 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/nchat-realtime /nchat-realtime
EXPOSE 3101
# Kubernetes and its like ask GET /healthz (alive) and GET /readyz (Postgres,
# LISTEN and migrations are good) themselves; there is no curl in here to do so.
ENTRYPOINT ["/nchat-realtime"]
CMD ["serve"]
