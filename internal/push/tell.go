package push

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	callLimit   = 10 * time.Second
	atOnce      = 8                // jobs taken together
	leaseOfJob  = 30 * time.Second // until then nobody else tries it
	firstWait   = time.Second      // doubling to longestWait
	longestWait = time.Hour
	givenUp     = 24 * time.Hour // then nobody wants to hear of a message any more
	previewLen  = 240            // characters of the content
)

// job is one call to be made.
type job struct {
	id       uuid.UUID
	tenant   string
	message  uuid.UUID
	users    []uuid.UUID
	attempts int
	created  time.Time
}

// Payload is what the webhook is told. It says nothing of anybody's presence
// but that these users had no session.
type Payload struct {
	ID        uuid.UUID   `json:"id"` // the same for each try: for the receiver to drop what came before
	Type      string      `json:"type"`
	Tenant    string      `json:"tenant"`
	UserIDs   []uuid.UUID `json:"userIds"`
	MessageID uuid.UUID   `json:"messageId"`
	ChannelID uuid.UUID   `json:"channelId"`
	Channel   string      `json:"channelName"`
	SenderID  *uuid.UUID  `json:"senderId"`
	Sender    *string     `json:"senderName"`
	Preview   string      `json:"preview"` // at most 240 characters of the content
	Mentioned []uuid.UUID `json:"mentionedUserIds"`
	CreatedAt time.Time   `json:"createdAt"`
}

func (s *Service) tell(ctx context.Context) {
	for {
		n, err := s.tellSome(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Log.DebugContext(ctx, "pushing", "error", err)
		}
		if n == atOnce && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
	}
}

// tellSome takes due jobs and makes their calls, one after another.
func (s *Service) tellSome(ctx context.Context) (int, error) {
	const q = `
update realtime.push_jobs j set attempts = j.attempts + 1, next_at = clock_timestamp() + $2::interval
 where j.id in (select d.id from realtime.push_jobs d where d.next_at <= clock_timestamp() order by d.next_at limit $1 for update skip locked)
returning j.id, j.tenant, j.message_id, j.users, j.attempts, j.created_at`
	rows, err := s.o.Pool.Query(ctx, q, atOnce, leaseOfJob+atOnce*callLimit)
	if err != nil {
		return 0, fmt.Errorf("taking jobs: %w", err)
	}
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j job, err error) {
		err = row.Scan(&j.id, &j.tenant, &j.message, &j.users, &j.attempts, &j.created)
		return j, err
	})
	if err != nil {
		return 0, fmt.Errorf("taking jobs: %w", err)
	}
	var all error
	for _, j := range jobs {
		all = errors.Join(all, s.one(ctx, j))
	}
	return len(jobs), all
}

// one makes a job's call, unless nobody is left to tell.
func (s *Service) one(ctx context.Context, j job) error {
	if time.Since(j.created) > givenUp {
		return s.done(ctx, j)
	}
	p, ok, err := s.payload(ctx, j)
	if err != nil {
		return err
	}
	if !ok {
		return s.done(ctx, j)
	}
	wait, err := s.call(ctx, p)
	switch {
	case err == nil:
		return s.done(ctx, j)
	case wait < 0:
		s.o.Log.WarnContext(ctx, "the push webhook refuses a message", "error", err)
		return s.done(ctx, j)
	}
	if wait == 0 {
		wait = backoff(j.attempts)
	}
	if _, err := s.o.Pool.Exec(ctx, `update realtime.push_jobs set next_at = clock_timestamp() + $2::interval where id = $1`, j.id, wait); err != nil {
		return fmt.Errorf("putting a job off: %w", err)
	}
	s.o.Log.InfoContext(ctx, "the push webhook is tried again", "attempt", j.attempts, "in", wait, "error", err)
	return nil
}

// backoff doubles, give or take a tenth.
func backoff(attempts int) time.Duration {
	d := longestWait
	if attempts < 13 {
		d = min(firstWait<<(attempts-1), longestWait)
	}
	return d + rand.N(d/5+1) - d/10
}

func (s *Service) done(ctx context.Context, j job) error {
	if _, err := s.o.Pool.Exec(ctx, `delete from realtime.push_jobs where id = $1`, j.id); err != nil {
		return fmt.Errorf("ending a job: %w", err)
	}
	return nil
}

// payload reads what is to be told as it is now; false: the message is no more,
// or everybody has come back.
func (s *Service) payload(ctx context.Context, j job) (Payload, bool, error) {
	const q = `
select m.channel_id, m.seq, n.sender, realtime.told_mentions(n.mentions, 1000), coalesce(c.name, ''), u.display_name,
       coalesce(left(o.content, $3), ''), o.created_at
  from realtime.messages m
  join realtime.nchat_messages() n on n.id = m.message_id and n.channel_id = m.channel_id and n.published and not n.deleted
  join realtime.message_rows() o on o.id = m.message_id
  join realtime.nchat_channels() c on c.id = m.channel_id and c.tenant = $2
  left join realtime.nchat_users() u on u.id = n.sender and u.tenant = $2
 where m.message_id = $1 and not m.gone`
	var seq int64
	p := Payload{ID: j.id, Type: "message", Tenant: j.tenant, MessageID: j.message}
	err := s.o.Pool.QueryRow(ctx, q, j.message, j.tenant, previewLen+1).Scan(
		&p.ChannelID, &seq, &p.SenderID, &p.Mentioned, &p.Channel, &p.Sender, &p.Preview, &p.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, false, nil
	} else if err != nil {
		return p, false, fmt.Errorf("reading a message to push: %w", err)
	}
	m := candidate{tenant: j.tenant, message: j.message, channel: p.ChannelID, seq: seq, sender: p.SenderID, mentions: p.Mentioned}
	if p.UserIDs, err = s.recipients(ctx, s.o.Pool, m, j.users); err != nil {
		return p, false, err
	}
	p.Preview = preview(p.Preview)
	p.Mentioned = both(p.Mentioned, p.UserIDs)
	return p, len(p.UserIDs) > 0, nil
}

func preview(text string) string {
	if utf8.RuneCountInString(text) <= previewLen {
		return text
	}
	return string([]rune(text)[:previewLen-1]) + "…"
}

// both are those of a that are in b as well.
func both(a, b []uuid.UUID) []uuid.UUID {
	in := make(map[uuid.UUID]struct{}, len(b))
	for _, id := range b {
		in[id] = struct{}{}
	}
	out := []uuid.UUID{}
	for _, id := range a {
		if _, ok := in[id]; ok {
			out = append(out, id)
		}
	}
	return out
}

// Sign is the value of the header x-nchat-signature: t=<unix seconds>,v1=<hex
// HMAC-SHA256 of "<t>.<body>" under the secret>.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(t + "."))
	_, _ = mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// call posts. After an error wait is for how long to put it off: 0 as usual,
// below 0 for good.
func (s *Service) call(ctx context.Context, p Payload) (wait time.Duration, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return -1, fmt.Errorf("writing a payload: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("calling the push webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "nchat-realtime")
	req.Header.Set("Idempotency-Key", p.ID.String())
	if s.o.Secret != "" {
		req.Header.Set("X-Nchat-Signature", Sign(s.o.Secret, time.Now(), body))
	}
	res, err := s.o.Client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("calling the push webhook: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return verdict(res)
}

// verdict reads an answer: 2xx is taken, a 4xx that no retry mends ends the job.
func verdict(res *http.Response) (time.Duration, error) {
	if res.StatusCode/100 == 2 {
		return 0, nil
	}
	err := fmt.Errorf("the push webhook answered %d", res.StatusCode)
	if res.StatusCode/100 == 4 && res.StatusCode != http.StatusRequestTimeout && res.StatusCode != http.StatusTooManyRequests &&
		res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusNotFound {
		return -1, err
	}
	if n, bad := strconv.Atoi(res.Header.Get("Retry-After")); bad == nil && n > 0 {
		return min(time.Duration(n)*time.Second, longestWait), err
	}
	return 0, err
}
