package message

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// rig is the demo world and two services on it, as two nodes have them.
type rig struct {
	t        *testing.T
	pool     *pgxpool.Pool
	one, two *Service
	mu       sync.Mutex
	rung     []string // guarded by mu
}

func (r *rig) Ring(topics ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rung = append(r.rung, topics...)
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.New(t)}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	o := Options{Pool: r.pool, Committed: func() { r.Ring("committed") }, Settle: r.settle, Content: 10000, Batch: 100, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	r.one, r.two = New(o), New(o)
	return r
}

// settle gives numbers to what is committed, as the log does.
func (r *rig) settle(ctx context.Context) error {
	_, err := r.pool.Exec(ctx, `select realtime.sequence(10000, false, true)`)
	return err
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), q, args...); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
}

func (r *rig) count(q string, args ...any) (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), q, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
	return n
}

func as(user uuid.UUID) viewer.Viewer { return viewer.Of("primary", user) }

func say(key string, channel uuid.UUID, text string) Input {
	return Input{ClientMessageID: key, Channel: channel, Content: &text}
}

func (r *rig) send(s *Service, v viewer.Viewer, in Input) Result {
	r.t.Helper()
	res, err := s.Send(r.t.Context(), v, in)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

func code(f *fault.Error) fault.Code {
	if f == nil {
		return ""
	}
	return f.Code
}

// TestWhoMayWrite: every reason against it, and that all of them look alike.
func TestWhoMayWrite(t *testing.T) {
	t.Parallel()
	member := func(set string) string {
		return `update public.nchat_channel_members set ` + set + ` where channel_id = '` + demo.Team.String() + `' and user_id = '` + demo.Bob.String() + `'`
	}
	channel := func(set string) string {
		return `update public.nchat_channels set ` + set + ` where id = '` + demo.Team.String() + `'`
	}
	thread, locked := uuid.New(), uuid.New()
	threads := `insert into public.nchat_threads (id, channel_id, is_locked) values ('` + thread.String() + `', '` + demo.Team.String() + `', false), ('` + locked.String() + `', '` + demo.Team.String() + `', true)`
	in := say("k", demo.Team, "hello")
	within := func(c uuid.UUID, thread, parent *uuid.UUID) Input {
		x := say("k", c, "hello")
		x.Thread, x.Parent = thread, parent
		return x
	}
	own, unknown := uuid.MustParse("00000000-0000-4000-b000-000000000005"), uuid.New()
	for name, c := range map[string]struct {
		set  []string
		who  uuid.UUID
		in   Input
		want bool
	}{
		"a member":                         {who: demo.Bob, in: in, want: true},
		"no member":                        {who: demo.Dave, in: in},
		"nobody the tenant knows":          {who: uuid.New(), in: in},
		"a channel that does not exist":    {who: demo.Bob, in: say("k", uuid.New(), "hello")},
		"another tenant's channel":         {set: []string{channel(`source_account_id = 'other'`)}, who: demo.Bob, in: in},
		"may not write":                    {set: []string{member(`can_write = false`)}, who: demo.Bob, in: in},
		"may not read":                     {set: []string{member(`can_read = false`)}, who: demo.Bob, in: in},
		"a deleted user":                   {set: []string{`update public.nchat_users set deleted_at = now() where id = '` + demo.Bob.String() + `'`}, who: demo.Bob, in: in},
		"archived":                         {set: []string{channel(`is_archived = true`)}, who: demo.Bob, in: in},
		"archived, by its time":            {set: []string{channel(`archived_at = now()`)}, who: demo.Bob, in: in},
		"read-only":                        {set: []string{channel(`is_readonly = true`)}, who: demo.Bob, in: in},
		"read-only, a guest":               {set: []string{channel(`is_readonly = true`), member(`role = 'guest'`)}, who: demo.Bob, in: in},
		"read-only, a moderator":           {set: []string{channel(`is_readonly = true`), member(`role = 'moderator'`)}, who: demo.Bob, in: in, want: true},
		"read-only, an admin":              {set: []string{channel(`is_readonly = true`), member(`role = 'admin'`)}, who: demo.Bob, in: in, want: true},
		"read-only, the owner":             {set: []string{channel(`is_readonly = true`), member(`role = 'owner'`)}, who: demo.Bob, in: in, want: true},
		"announcement":                     {set: []string{channel(`type = 'announcement'`)}, who: demo.Bob, in: in},
		"announcement, a moderator":        {set: []string{channel(`type = 'announcement'`), member(`role = 'moderator'`)}, who: demo.Bob, in: in, want: true},
		"a moderator who may not write":    {set: []string{member(`role = 'moderator', can_write = false`)}, who: demo.Bob, in: in},
		"a direct channel":                 {who: demo.Bob, in: say("k", demo.AliceBob, "hello"), want: true},
		"blocked by the other":             {who: demo.Erin, in: say("k", demo.AliceErin, "hello")},
		"having blocked the other":         {who: demo.Alice, in: say("k", demo.AliceErin, "hello")},
		"blocked, but among others":        {who: demo.Erin, in: say("k", demo.General, "hello"), want: true},
		"a thread":                         {set: []string{threads}, who: demo.Bob, in: within(demo.Team, &thread, nil), want: true},
		"a locked thread":                  {set: []string{threads}, who: demo.Bob, in: within(demo.Team, &locked, nil)},
		"another channel's thread":         {set: []string{threads}, who: demo.Bob, in: within(demo.General, &thread, nil)},
		"an unknown thread":                {who: demo.Bob, in: within(demo.Team, &unknown, nil)},
		"answering":                        {who: demo.Bob, in: within(demo.Team, nil, &own), want: true},
		"answering what one may not":       {who: demo.Dave, in: within(demo.Team, nil, &unknown)},
		"a public channel, not joined yet": {set: []string{`delete from public.nchat_channel_members where user_id = '` + demo.Frank.String() + `'`}, who: demo.Frank, in: say("k", demo.General, "hello")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for _, q := range c.set {
				r.exec(q)
			}
			before := r.count(`select count(*) from public.nchat_messages`)
			res := r.send(r.one, as(c.who), c.in)
			if ok := res.Err == nil; ok != c.want {
				t.Fatalf("sent: %v (%v)", ok, res.Err)
			}
			if n := r.count(`select count(*) from public.nchat_messages`) - before; (n == 1) != c.want {
				t.Errorf("%d messages written", n)
			}
			if !c.want {
				if *res.Err != *fault.Access() {
					t.Errorf("refused with %v", res.Err)
				}
				if n := r.count(`select count(*) from realtime.client_keys`) + len(r.rung); n != 0 {
					t.Errorf("a refusal leaves something: %d %v", n, r.rung)
				}
			}
		})
	}
}

func TestWhatMayBeSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Content = 20 })
	text := func(s string) *string { return &s }
	kind := func(k Type) *Type { return &k }
	long := strings.Repeat("é", 20)
	for name, c := range map[string]struct {
		in    Input
		field string // "": it may
	}{
		"text":              {Input{Content: text("hi")}, ""},
		"as long as may be": {Input{Content: &long}, ""},
		"longer":            {Input{Content: text(long + "é")}, "content"},
		"empty":             {Input{Content: text("")}, "content"},
		"spaces":            {Input{Content: text(" \n\t")}, "content"},
		"none":              {Input{}, "content"},
		"NUL":               {Input{Content: text("a\x00b")}, "content"},
		"no UTF-8":          {Input{Content: text("a\xffb")}, "content"},
		"SQL":               {Input{Content: text("'; drop table x")}, ""},
		"a file":            {Input{Type: kind(TypeFile), Metadata: json.RawMessage(`{"url":"x"}`)}, ""},
		"a file, nothing":   {Input{Type: kind(TypeFile)}, "content"},
		"system":            {Input{Type: kind(TypeSystem), Content: text("hi")}, "type"},
		"bot":               {Input{Type: kind(TypeBot), Content: text("hi")}, "type"},
		"unknown":           {Input{Type: kind("sticker"), Content: text("hi")}, "type"},
		"metadata, a list":  {Input{Content: text("hi"), Metadata: json.RawMessage(`[1]`)}, "metadata"},
		"metadata, too big": {Input{Content: text("hi"), Metadata: json.RawMessage(`{"x":"` + strings.Repeat("x", MaxMetadata) + `"}`)}, "metadata"},
		"metadata, NUL":     {Input{Content: text("hi"), Metadata: json.RawMessage(`{"x":"\u0000"}`)}, "metadata"},
		"mentions":          {Input{Content: text("hi"), Mentions: make([]uuid.UUID, MaxMentions)}, ""},
		"mentions, many":    {Input{Content: text("hi"), Mentions: make([]uuid.UUID, MaxMentions+1)}, "mentions"},
		"no key":            {Input{ClientMessageID: "-", Content: text("hi")}, "clientMessageId"},
		"a long key":        {Input{ClientMessageID: strings.Repeat("k", MaxKey+1), Content: text("hi")}, "clientMessageId"},
		"a key of controls": {Input{ClientMessageID: "a\nb", Content: text("hi")}, "clientMessageId"},
	} {
		in := c.in
		in.Channel = demo.Team
		switch in.ClientMessageID {
		case "":
			in.ClientMessageID = name
		case "-":
			in.ClientMessageID = ""
		}
		res := r.send(r.one, as(demo.Bob), in)
		if c.field == "" && res.Err != nil || c.field != "" && (res.Err == nil || res.Err.Code != fault.Invalid || res.Err.Field != c.field || res.Err.Retryable) {
			t.Errorf("%s: %v, want %q", name, res.Err, c.field)
		}
	}
	if _, err := r.one.Send(t.Context(), viewer.Of("primary", uuid.Nil), say("k", demo.Team, "hi")); fault.From(err).Code != fault.Denied {
		t.Errorf("nobody: %v", err)
	}
}

// TestOneMessageForEachKey: two devices on two nodes send the same at once.
func TestOneMessageForEachKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := r.count(`select count(*) from public.nchat_messages`)
	const keys = 100
	var wg sync.WaitGroup
	for i := range keys {
		in := say(fmt.Sprint("key ", i), demo.Team, fmt.Sprint("text ", i))
		results := make([]Result, 4)
		for j := range results {
			s := []*Service{r.one, r.two}[j%2]
			wg.Go(func() {
				res, err := s.Send(context.WithoutCancel(t.Context()), as(demo.Bob), in)
				if err != nil {
					t.Error(err)
				}
				results[j] = res
			})
		}
		wg.Wait()
		fresh := 0
		for _, res := range results {
			if res.Err != nil || res.Message == nil || res.Message.ID != results[0].Message.ID {
				t.Fatalf("key %d: %+v", i, results)
			}
			if !res.Duplicate {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("key %d was sent %d times", i, fresh)
		}
	}
	if n := r.count(`select count(*) from public.nchat_messages`) - before; n != keys {
		t.Errorf("%d messages for %d keys", n, keys)
	}
	if gap := r.count(`select max(seq) - count(*) from realtime.messages where channel_id = $1`, demo.Team); gap != 0 {
		t.Errorf("%d numbers are missing", gap)
	}
	for what, other := range map[string]Input{"content": say("key 0", demo.Team, "other"), "channel": say("key 0", demo.General, "text 0")} {
		if res := r.send(r.two, as(demo.Bob), other); code(res.Err) != fault.Conflict || res.Err.Retryable {
			t.Errorf("another %s: %v", what, res.Err)
		}
	}
	if res := r.send(r.one, as(demo.Alice), say("key 0", demo.Team, "mine")); res.Err != nil || res.Duplicate {
		t.Errorf("another user's key: %+v", res)
	}
	id := r.send(r.one, as(demo.Bob), say("key 1", demo.Team, "text 1")).Message.ID
	if _, err := r.one.Delete(t.Context(), as(demo.Bob), id); err != nil {
		t.Fatal(err)
	}
	if res := r.send(r.one, as(demo.Bob), say("key 1", demo.Team, "text 1")); !res.Duplicate || res.Message == nil || res.Message.DeletedAt == nil {
		t.Errorf("a key whose message was deleted: %+v", res)
	}
	r.exec(`update realtime.client_keys set at = now() - interval '30 days' where client_message_id = 'key 2'`)
	r.exec(`update realtime.client_keys set at = now() - interval '32 days' where client_message_id = 'key 3'`)
	if err := sweep.All(t.Context(), r.one.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if n := r.count(`select count(*) from realtime.client_keys where client_message_id in ('key 2', 'key 3')`); n != 1 {
		t.Errorf("%d of the two old keys are kept", n)
	}
	r.exec(`insert into realtime.client_keys (tenant, user_id, client_message_id, digest, at)
		select 'primary', $1, 'many ' || i, '', now() - case when i % 200 = 0 then interval '32 days' else interval '0' end from generate_series(1, 20000) i`, demo.Carol)
	r.exec(`vacuum analyze realtime.client_keys`)
	if n, plan := pgtest.Looked(t, r.pool, forgetKeys, 1000, keysKept); n > 1000 {
		t.Errorf("to forget a hundred keys %g are looked at:\n%s", n, plan)
	}
}

// TestABatchKeepsItsOrder: a channel that is stuck stops at its first failure,
// the others go on; sent again, all is there in order and once.
func TestABatchKeepsItsOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`alter system set lock_timeout = default`)
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select 1 from realtime.gates where channel_id = $1 for update`, demo.Team); err != nil {
		t.Fatal(err)
	}
	var in []Input
	for i := range 6 {
		in = append(in, say(fmt.Sprint(i), []uuid.UUID{demo.Team, demo.General}[i%2], fmt.Sprint(i)))
	}
	in = append(in, say("bad", demo.General, ""), say("after", demo.General, "after"))
	list, sum, err := r.one.SendAll(t.Context(), as(demo.Bob), in, "")
	if err != nil || sum != Digest(in) {
		t.Fatal(err, sum)
	}
	for i, res := range list {
		stuck := in[i].Channel == demo.Team
		switch {
		case in[i].ClientMessageID == "bad":
			if code(res.Err) != fault.Invalid {
				t.Errorf("%d: %v", i, res.Err)
			}
		case stuck && (res.Err == nil || !res.Err.Retryable || res.Err.RetryAfter == 0):
			t.Errorf("%d in the stuck channel: %v", i, res.Err)
		case !stuck && res.Err != nil:
			t.Errorf("%d: %v", i, res.Err)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, _, err = r.two.SendAll(t.Context(), as(demo.Bob), in, sum)
	if err != nil {
		t.Fatal(err)
	}
	last := map[uuid.UUID]int64{}
	for i, res := range list {
		if in[i].ClientMessageID == "bad" {
			continue
		}
		if res.Err != nil || res.Duplicate != (in[i].Channel == demo.General) || res.Message.Number <= last[in[i].Channel] {
			t.Errorf("%d again: %+v", i, res)
			continue
		}
		last[in[i].Channel] = res.Message.Number
	}
	for what, bad := range map[string]func() error{
		"another digest": func() error { _, _, err := r.one.SendAll(t.Context(), as(demo.Bob), in, Digest(in[1:])); return err },
		"none":           func() error { _, _, err := r.one.SendAll(t.Context(), as(demo.Bob), nil, ""); return err },
		"101": func() error {
			_, _, err := r.one.SendAll(t.Context(), as(demo.Bob), make([]Input, 101), "")
			return err
		},
	} {
		if err := bad(); fault.From(err).Code != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestEdits: who may, what a stale one leads to, and that a deletion beats it.
func TestEdits(t *testing.T) {
	t.Parallel()
	const first, second = "see you at 5 tomorrow", "see you at 6 tomorrow"
	for name, c := range map[string]struct {
		merge  bool
		before []string // SQL, with $1 the message, after the author's own first edit to second
		who    uuid.UUID
		text   string
		base   int
		want   fault.Code
		says   string
		how    Resolution
	}{
		"in time":                      {who: demo.Bob, text: "third", base: 2, says: "third"},
		"stale":                        {who: demo.Bob, text: "third", base: 1, says: "third", how: ClientWins},
		"stale, and the same place":    {merge: true, who: demo.Bob, text: "see you at 7 tomorrow", base: 1, says: second, how: ServerWins},
		"stale, and another place":     {merge: true, who: demo.Bob, text: "see you at 5 tomorrow!", base: 1, says: second + "!", how: Merged},
		"stale, by metadata alone":     {before: []string{`update public.nchat_messages set metadata = '{"x":1}' where id = $1`}, who: demo.Bob, text: "third", base: 2, says: "third"},
		"a version to come":            {who: demo.Bob, text: "third", base: 3, want: fault.Invalid, says: second},
		"version 0":                    {who: demo.Bob, text: "third", base: 0, want: fault.Invalid, says: second},
		"a member, another's message":  {who: demo.Carol, text: "third", base: 2, want: fault.Denied, says: second},
		"a stranger":                   {who: demo.Dave, text: "third", base: 2, want: fault.Denied, says: second},
		"empty":                        {who: demo.Bob, text: " ", base: 2, want: fault.Invalid, says: second},
		"a moderator":                  {before: []string{`update public.nchat_channel_members set role = 'moderator' where user_id = '` + demo.Carol.String() + `'`}, who: demo.Carol, text: "third", base: 2, says: "third"},
		"a moderator, stale":           {merge: true, before: []string{`update public.nchat_channel_members set role = 'moderator' where user_id = '` + demo.Carol.String() + `'`}, who: demo.Carol, text: "third", base: 1, says: "third", how: ClientWins},
		"after the system's":           {before: []string{`update public.nchat_messages set content = 'moderated' where id = $1`}, who: demo.Bob, text: "third", base: 2, says: "moderated", how: ServerWins},
		"after the system's, in time":  {before: []string{`update public.nchat_messages set content = 'moderated' where id = $1`}, who: demo.Bob, text: "third", base: 3, says: "third"},
		"after deletion":               {before: []string{`update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`}, who: demo.Bob, text: "third", base: 2, says: second, how: ServerWins},
		"after deletion for good":      {before: []string{`delete from public.nchat_messages where id = $1`}, who: demo.Bob, text: "third", base: 2, want: fault.Denied},
		"after being removed":          {before: []string{`delete from public.nchat_channel_members where user_id = '` + demo.Bob.String() + `'`}, who: demo.Bob, text: "third", base: 2, want: fault.Denied, says: second},
		"in a channel now read-only":   {before: []string{`update public.nchat_channels set is_readonly = true`}, who: demo.Bob, text: "third", base: 2, want: fault.Denied, says: second},
		"in what is another tenant's":  {before: []string{`update public.nchat_channels set source_account_id = 'other'`}, who: demo.Bob, text: "third", base: 2, want: fault.Denied, says: second},
		"a base that is not known now": {merge: true, before: []string{`delete from realtime.message_versions where message_id = $1`}, who: demo.Bob, text: "third", base: 1, says: second, how: ServerWins},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *Options) { o.Merge = c.merge })
			m := r.send(r.one, as(demo.Bob), say("k", demo.Team, first)).Message
			if _, conflict, err := r.one.Edit(t.Context(), as(demo.Bob), m.ID, second, 1); err != nil || conflict != nil {
				t.Fatal(err, conflict)
			}
			for _, q := range c.before {
				if strings.Contains(q, "$1") {
					r.exec(q, m.ID)
				} else {
					r.exec(q)
				}
			}
			got, conflict, err := r.two.Edit(t.Context(), as(c.who), m.ID, c.text, c.base)
			if (err == nil) != (c.want == "") || err != nil && fault.From(err).Code != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if (conflict == nil) != (c.how == "") || conflict != nil && conflict.Resolution != c.how {
				t.Errorf("conflict %+v, want %q", conflict, c.how)
			}
			if err == nil && got.Version < 2 {
				t.Errorf("version %d", got.Version)
			}
			if c.says != "" && r.count(`select count(*) from public.nchat_messages where id = $1 and content = $2`, m.ID, c.says) != 1 {
				t.Errorf("it does not say %q", c.says)
			}
		})
	}
}

func TestDeletions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.send(r.one, as(demo.Bob), say("k", demo.Team, "hello")).Message
	for name, id := range map[string]uuid.UUID{"unknown": uuid.New(), "foreign": uuid.MustParse("00000000-0000-4000-b000-000000000009")} {
		if _, err := r.one.Delete(t.Context(), as(demo.Bob), id); fault.From(err).Code != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.one.Delete(t.Context(), as(demo.Carol), m.ID); fault.From(err).Code != fault.Denied {
		t.Errorf("another's: %v", err)
	}
	gone, err := r.one.Delete(t.Context(), as(demo.Bob), m.ID)
	if err != nil || gone.DeletedAt == nil || gone.For(demo.Bob).Content != nil {
		t.Fatalf("%+v %v", gone, err)
	}
	again, err := r.two.Delete(t.Context(), as(demo.Bob), m.ID)
	if err != nil || again.Version != gone.Version || !again.DeletedAt.Equal(*gone.DeletedAt) {
		t.Errorf("once more: %+v %v", again, err)
	}
	if n := r.count(`select count(*) from realtime.message_versions where message_id = $1`, m.ID); n != 0 {
		t.Error("what a deleted message said is kept")
	}
	r.exec(`update public.nchat_channel_members set role = 'admin' where user_id = $1`, demo.Carol)
	other := r.send(r.one, as(demo.Bob), say("k2", demo.Team, "hello")).Message
	if _, err := r.one.Delete(t.Context(), as(demo.Carol), other.ID); err != nil {
		t.Errorf("an admin: %v", err)
	}
}
