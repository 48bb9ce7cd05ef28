#!/bin/sh
# Server-sent events with curl: Alice's presence, and what is written in the caller's
# channels. TOKEN is in the environment.
curl -sN --fail-with-body "${URL:-http://127.0.0.1:3101/v1/graphql}" \
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "Accept: text/event-stream" \
  -d '{
    "query": "subscription ($of: [uuid!]) { events(kinds: [messages, presence], presenceOf: $of) { payload { __typename ... on MessageCreated { message { content } } ... on PresenceChanged { presence { status customStatus { text } } } } } }",
    "variables": {"of": ["00000000-0000-4000-8000-000000000001"]}
  }'
