package presence

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

func TestAStreamThatMayShowNothingIsSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	// Erin is blocked by alice; dave never connects. Erin watches both.
	erin := r.watch(n, as(demo.Erin), demo.Alice, demo.Dave, demo.Frank)
	seen := map[uuid.UUID]View{}
	for range 3 {
		v := next(t, erin)
		seen[v.UserID] = v
	}
	if !seen[demo.Alice].equal(neverSeen(demo.Alice)) || !seen[demo.Dave].equal(neverSeen(demo.Dave)) {
		t.Fatalf("%+v", seen)
	}
	alice := r.connect(n, demo.Alice)
	if _, err := n.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Edit.SetCustom(t.Context(), alice, Custom{Text: ptr("x")}); err != nil {
		t.Fatal(err)
	}
	n.Sessions.End(alice.Session)
	eventually(t, "alice is gone for those who may see her", func() bool { return r.see(n, as(demo.Bob), demo.Alice).Status == Offline })
	// Whatever was to be told of alice would be told before this.
	r.connect(n, demo.Frank)
	if v := next(t, erin); v.UserID != demo.Frank {
		t.Fatalf("told of %+v", v)
	}
}

func TestACursorHoldsWhatItsHolderSaw(t *testing.T) {
	t.Parallel()
	for _, status := range []Status{Online, Away, Busy, Offline} {
		v := View{UserID: demo.Alice, Status: status}
		text := positionOf(v).String()
		back, err := parsePosition(&text)
		if err != nil || back != (position{status.rank(), demo.Alice}) {
			t.Fatal(back, err)
		}
	}
}

func TestDoorbellsCarryIdsOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	conn, err := r.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `listen nchat_realtime`); err != nil {
		t.Fatal(err)
	}
	// Ours ring through the bell of the rig, as topics; everybody else's through triggers.
	const id = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
	topic := regexp.MustCompile(`^(presence/` + id + `/primary|audience/` + id + `|members/` + id + `|revoked|inbox)$`)
	r.exec(`insert into realtime.presence (tenant, user_id, custom_text, manual_status) values ('primary', $1, 'secret', 'busy')`, demo.Alice)
	r.exec(`insert into realtime.presence_settings (tenant, user_id, invisible_mode) values ('primary', $1, true)`, demo.Alice)
	r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Alice, demo.Bob)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Frank)
	r.exec(`insert into realtime.revoked_users values ('primary', $1, now())`, demo.Frank)
	r.exec(`select pg_notify('nchat_realtime', 'end')`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	heard := 0
	for {
		note, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if note.Payload == "end" {
			break
		}
		heard++
		if !topic.MatchString(note.Payload) {
			t.Errorf("rung: %q", note.Payload)
		}
	}
	if heard < 5 {
		t.Fatalf("only %d doorbells", heard)
	}
	_ = n
}

func TestDeniedUnknownAndForeignAnswerAlike(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	answers := map[string]bool{}
	for _, c := range []struct {
		v       viewer.Viewer
		channel uuid.UUID
	}{{as(demo.Dave), demo.Team}, {as(demo.Dave), uuid.New()}, {viewer.Of("other", demo.Bob), demo.Team}, {as(uuid.New()), demo.General}} {
		_, err := n.Watch.Window(t.Context(), c.v, c.channel, nil, nil, func(error) {})
		if err == nil {
			t.Fatal("let in")
		}
		answers[err.Error()] = true
	}
	if len(answers) != 1 {
		t.Fatalf("told apart: %v", answers)
	}
}

// statements are those sent to Postgres.
type statements struct{ list []string }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	s.list = append(s.list, d.SQL)
	return ctx
}
func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		s.list = append(s.list, q.SQL)
	}
	return ctx
}
func (*statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func TestUnknownIdsCostTheSameStatements(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cfg := r.pool.Config()
	tr := &statements{}
	cfg.ConnConfig.Tracer = tr
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	reader := New(Options{Pool: pool, Clock: clock.New(), Bell: r, Rules: quick}).Read
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := func(u uuid.UUID) string {
		tr.list = nil
		if _, err := reader.Presence(t.Context(), viewer.Of(primary, demo.Bob), u); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Visibilities(t.Context(), viewer.Of(primary, demo.Bob), []uuid.UUID{u}); err != nil {
			t.Fatal(err)
		}
		if len(tr.list) != 4 {
			t.Fatalf("%d statements", len(tr.list))
		}
		return strings.Join(tr.list, ";")
	}
	if read(demo.Alice) != read(uuid.New()) || read(demo.Alice) != read(demo.Erin) {
		t.Fatal("other statements for another id")
	}
}

func TestOnDoubtNothingIsShown(t *testing.T) {
	t.Parallel()
	// A record of which nothing could be read, a relation nobody looked up, a
	// setting nobody knows: each alone hides.
	for name, c := range map[string]struct {
		rec *record
		rel relation
	}{
		"no record":           {&record{key: Key{Tenant: primary, User: demo.Alice}, active: true, sessions: target().sessions}, relation{viewer: true}},
		"no relation":         {target(), relation{}},
		"invisible, no since": {func() *record { r := target(); r.settings.InvisibleMode = true; r.lastSeen = nil; return r }(), relation{viewer: true}},
		"unknown visibility":  {func() *record { r := target(); r.settings.Visibility = "friends"; return r }(), relation{viewer: true, contact: true}},
	} {
		if got, _ := project(c.rec, c.rel, rules, outage{}, noon); !got.equal(neverSeen(c.rec.key.User)) {
			t.Errorf("%s: %s", name, show(got))
		}
	}
}
