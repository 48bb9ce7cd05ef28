package push

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// want checks who is told what now, in calls of one type.
func (r *rig) want(what, kind string, message uuid.UUID, users ...uuid.UUID) Payload {
	r.t.Helper()
	var got []uuid.UUID
	var last Payload
	for _, p := range r.told() {
		if p.Type != kind || p.MessageID != message || p.CollapseKey != "channel:"+p.ChannelID.String() {
			r.t.Errorf("%s: told %+v", what, p)
		}
		for _, x := range p.Recipients {
			got = append(got, x.UserID)
		}
		last = p
	}
	slices.SortFunc(got, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(got, users) {
		r.t.Errorf("%s: told %v, want %v", what, got, users)
	}
	return last
}

// TestASecondLook: who looks at a device is told a while later, if it looks no
// more and has not read it: of the newest, once.
func TestASecondLook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(demo.Bob, Attention{Looking: true})
	r.is(demo.Carol, Attention{Looking: true})
	r.say(demo.Team, demo.Alice, "one")
	two := r.say(demo.Team, demo.Alice, "two")
	r.want("looking", TypeMessage, two)
	r.want("and not at once", TypeMessage, two)
	r.is(demo.Bob, Attention{})
	r.due()
	r.want("gone, but for one who looks on", TypeMessage, two, demo.Bob)
	r.due()
	r.want("looks on, for as long after two", TypeMessage, two)
	r.is(demo.Carol, Attention{})
	r.due()
	r.want("who looked on has been there", TypeMessage, two)

	r.is(demo.Bob, Attention{Looking: true})
	three := r.say(demo.Team, demo.Alice, "three")
	r.want("another, to who does not look", TypeMessage, three, demo.Carol)
	r.is(demo.Bob, Attention{})
	r.read(demo.Bob, three)
	r.due()
	if list := r.told(); len(list) != 1 || list[0].Type != TypeWithdraw || !slices.Equal(users(list), []uuid.UUID{demo.Bob}) {
		t.Errorf("read meanwhile, told %+v", list)
	}
}

// TestASecondLookObeysLevels: who hears of mentions alone is told of the newest
// that mentions it, though others came after.
func TestASecondLookObeysLevels(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`update public.nchat_channel_members set notification_level = 'mentions' where user_id = $1`, demo.Bob)
	r.exec(`update public.nchat_channel_members set is_muted = true where user_id = $1`, demo.Carol)
	for _, u := range []uuid.UUID{demo.Bob, demo.Carol} {
		r.is(u, Attention{Looking: true})
	}
	r.say(demo.Team, demo.Alice, "before")
	named := r.say(demo.Team, demo.Alice, "bob!", demo.Bob)
	r.say(demo.Team, demo.Alice, "after")
	r.told()
	r.is(demo.Bob, Attention{})
	r.is(demo.Carol, Attention{})
	r.due()
	if p := r.want("mentions", TypeMessage, named, demo.Bob); len(p.Recipients) == 1 && !p.Recipients[0].Mentioned {
		t.Error("not said that it is a mention")
	}
}

// TestNotToBeDisturbed: while busy and in quiet hours nothing is told; afterwards
// the newest that is still unread, once.
func TestNotToBeDisturbed(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(2 * time.Hour)
	for name, c := range map[string]struct {
		begin, end func(*rig)
	}{
		"busy until changed": {func(r *rig) { r.is(demo.Bob, Attention{Busy: true}) }, func(r *rig) { r.is(demo.Bob, Attention{}) }},
		"busy for a while":   {func(r *rig) { r.is(demo.Bob, Attention{Busy: true, BusyUntil: &soon}) }, func(r *rig) { r.is(demo.Bob, Attention{}) }},
		"busy, and looking":  {func(r *rig) { r.is(demo.Bob, Attention{Busy: true, Looking: true}) }, func(r *rig) { r.is(demo.Bob, Attention{}) }},
		"quiet hours": {func(r *rig) { r.quiet(demo.Bob, -time.Hour, time.Hour) },
			func(r *rig) { r.quiet(demo.Bob, time.Hour, 2*time.Hour) }},
		"quiet hours taken away": {func(r *rig) { r.quiet(demo.Bob, -time.Hour, time.Hour) },
			func(r *rig) {
				if _, err := (Hours{r.pool}).Set(r.t.Context(), viewer.Of("primary", demo.Bob), nil); err != nil {
					r.t.Fatal(err)
				}
			}},
		"their end": {func(r *rig) { r.quiet(demo.Bob, -time.Hour, time.Hour) },
			func(r *rig) {
				r.mu.Lock()
				r.now = 61 * time.Minute
				r.mu.Unlock()
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			c.begin(r)
			r.say(demo.AliceBob, demo.Alice, "one")
			two := r.say(demo.AliceBob, demo.Alice, "two")
			r.want("at first", TypeMessage, two)
			r.due()
			r.want("asked again", TypeMessage, two)
			c.end(r)
			r.due()
			r.want("afterwards", TypeMessage, two, demo.Bob)
			r.due()
			r.want("told again", TypeMessage, two)
			var n int
			if err := r.pool.QueryRow(t.Context(), `select count(*) from realtime.push_held`).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows are held %v", n, err)
			}

			c.begin(r)
			r.mu.Lock()
			r.now = 0
			r.mu.Unlock()
			three := r.say(demo.AliceBob, demo.Alice, "three")
			r.read(demo.Bob, three)
			r.want("what was told is read, and three has not been told", TypeWithdraw, two, demo.Bob)
			c.end(r)
			r.due()
			r.want("read meanwhile", TypeMessage, three)
		})
	}
}

// quiet gives a user quiet hours around now, on a clock far from the server's.
func (r *rig) quiet(user uuid.UUID, from, to time.Duration) {
	r.t.Helper()
	zone, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now().In(zone)
	q := QuietHours{From: now.Add(from).Format(clockFace), To: now.Add(to).Format(clockFace), TimeZone: zone.String()}
	if got, err := (Hours{r.pool}).Set(r.t.Context(), viewer.Of("primary", user), &q); err != nil || *got != q {
		r.t.Fatal(got, err)
	}
}

// TestWithdrawn: what was told is withdrawn when it is read elsewhere, deleted,
// or not its receiver's any more, with the badge of then, and says nothing else.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(r *rig, message uuid.UUID)
		want []uuid.UUID
	}{
		"read elsewhere": {func(r *rig, m uuid.UUID) { r.read(demo.Bob, m) }, []uuid.UUID{demo.Bob}},
		"deleted": {func(r *rig, m uuid.UUID) {
			r.exec(`update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`, m)
		}, []uuid.UUID{demo.Bob, demo.Carol}},
		"deleted for good": {func(r *rig, m uuid.UUID) { r.exec(`delete from public.nchat_messages where id = $1`, m) }, []uuid.UUID{demo.Bob, demo.Carol}},
		"no member any more": {func(r *rig, _ uuid.UUID) {
			r.exec(`delete from public.nchat_channel_members where user_id = $1`, demo.Bob)
		}, []uuid.UUID{demo.Bob}},
		"the channel is gone": {func(r *rig, _ uuid.UUID) { r.exec(`delete from public.nchat_channels where id = $1`, demo.Team) }, []uuid.UUID{demo.Bob, demo.Carol}},
		"all is truncated":    {func(r *rig, _ uuid.UUID) { r.exec(`truncate public.nchat_messages cascade`) }, []uuid.UUID{demo.Bob, demo.Carol}},
		"made public": {func(r *rig, _ uuid.UUID) {
			r.exec(`update public.nchat_channels set type = 'public' where id = $1`, demo.Team)
		}, nil},
		"an edit": {func(r *rig, m uuid.UUID) { r.exec(`update public.nchat_messages set content = 'y' where id = $1`, m) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			m := r.say(demo.Team, demo.Alice, "secret words")
			r.want("told", TypeMessage, m, demo.Bob, demo.Carol)
			c.do(r, m)
			r.exec(`select realtime.sequence(1000, false)`)
			p := r.want(name, TypeWithdraw, m, c.want...)
			if p.Preview != "" || p.Sender != nil || p.SenderID != nil || p.Channel != "" || p.CreatedAt != nil {
				t.Errorf("a withdrawal says %+v", p)
			}
			r.want("withdrawn again", TypeWithdraw, m)
		})
	}
}

// TestReadWhileItIsTold: a reading that comes while the call is made is told
// after it, whichever the server saw first.
func TestReadWhileItIsTold(t *testing.T) {
	t.Parallel()
	for _, scanned := range []bool{false, true} {
		r := newRig(t)
		inside, goOn := make(chan struct{}), make(chan struct{})
		var mu sync.Mutex
		calls := 0
		srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			calls++
			first := calls == 1
			mu.Unlock()
			if first {
				close(inside)
				<-goOn
			}
		}))
		t.Cleanup(srv.Close)
		s := r.service(srv.URL)
		m := r.say(demo.AliceBob, demo.Alice, "x")
		if err := s.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := s.tellSome(t.Context()); ended <- err }()
		<-inside
		r.read(demo.Bob, m)
		if scanned {
			if err := s.look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.tellSome(t.Context()); err != nil { // the withdrawal overtakes
				t.Fatal(err)
			}
		}
		close(goOn)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		r.want("after the call", TypeWithdraw, m, demo.Bob)
	}
}

// TestANewerOneStays: what takes an older one's place is not withdrawn with it.
func TestANewerOneStays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one := r.say(demo.AliceBob, demo.Alice, "one")
	r.want("told", TypeMessage, one, demo.Bob)
	r.read(demo.Bob, one)
	two := r.say(demo.AliceBob, demo.Alice, "two")
	for _, p := range r.told() {
		if p.Type == TypeWithdraw && p.MessageID != one || p.Type == TypeMessage && p.MessageID != two {
			t.Errorf("told %+v", p)
		}
	}
	r.read(demo.Bob, one)
	r.want("read what is older", TypeWithdraw, one)
}

// TestBadge: all that is unread but what is muted; at most 999; less after reading.
func TestBadge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []uuid.UUID{demo.General, demo.Team, demo.AliceBob} {
		r.exec(`insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'x')`, c, demo.Alice)
	}
	r.exec(`select realtime.sequence(1000, false)`)
	r.exec(`insert into realtime.marks (channel_id, user_id, read_seq, delivered_seq) select c.channel_id, $1, c.seq, c.seq from realtime.channels c`, demo.Bob)
	r.told()
	badge := func(list []Payload) int {
		t.Helper()
		for _, p := range list {
			for _, x := range p.Recipients {
				if x.UserID == demo.Bob {
					return x.Badge
				}
			}
		}
		t.Fatal("bob is not told")
		return 0
	}
	r.say(demo.AliceBob, demo.Alice, "one")
	if n := badge(r.told()); n != 1 {
		t.Errorf("one is %d", n)
	}
	r.say(demo.Team, demo.Alice, "two")
	if n := badge(r.told()); n != 2 {
		t.Errorf("two channels are %d", n)
	}
	r.exec(`select realtime.set_notifications('primary', $1, $2, null, true, now() + interval '1 hour')`, demo.AliceBob, demo.Bob)
	r.say(demo.Team, demo.Alice, "three")
	if n := badge(r.told()); n != 2 {
		t.Errorf("with one channel muted %d", n)
	}
	team := r.say(demo.Team, demo.Alice, "four")
	r.told()
	r.read(demo.Bob, team)
	if n := badge(r.told()); n != 0 {
		t.Errorf("read, and %d", n)
	}
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, 'x' from generate_series(1, 1200)`, demo.Team, demo.Alice)
	r.exec(`select realtime.sequence(2000, false)`)
	var n int
	if err := r.pool.QueryRow(t.Context(), `select realtime.badge('primary', $1, $2)`, demo.Bob, badgeMost).Scan(&n); err != nil || n != badgeMost {
		t.Errorf("1200 are %d %v", n, err)
	}
}

// TestNamesOfBlanks: whom nobody could read the name of is Someone.
func TestNamesOfBlanks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for set, want := range map[string]string{`display_name = ' '`: "Someone", "display_name = U&'\\200B\\3164'": "Someone", `deleted_at = now()`: "Someone", `display_name = 'Al'`: "Al"} {
		r.exec(`update public.nchat_users set display_name = 'Alice', deleted_at = null where id = $1`, demo.Alice)
		r.say(demo.AliceBob, demo.Alice, "x")
		r.exec(`update public.nchat_users set `+set+` where id = $1`, demo.Alice)
		if list := r.told(); len(list) == 0 || list[len(list)-1].Sender == nil || *list[len(list)-1].Sender != want {
			t.Errorf("%s: told %+v", set, list)
		}
	}
}

// TestNoSecretInLogs: the webhook's URL is in no line and no error, whatever fails.
func TestNoSecretInLogs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var mu sync.Mutex
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &said}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	moved := httptest.NewServer(http.RedirectHandler("/elsewhere/SECRETTOKEN", http.StatusFound))
	t.Cleanup(moved.Close)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(refusing.Close)
	for _, url := range []string{"http://127.0.0.1:1/SECRETTOKEN?key=hunter2", "http://user:hunter2@127.0.0.1:1/SECRETTOKEN", "http://no.such.host.invalid/SECRETTOKEN",
		"https://%zz/SECRETTOKEN", "gopher://x/SECRETTOKEN", moved.URL + "/SECRETTOKEN", refusing.URL + "/SECRETTOKEN?key=hunter2"} {
		s := r.service(url)
		s.o.Log = log
		r.say(demo.AliceBob, demo.Alice, "what alice wrote")
		if err := s.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.tellSome(t.Context()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if out := said.String(); !strings.Contains(out, "push webhook") || strings.Contains(out, "SECRETTOKEN") || strings.Contains(out, "hunter2") || strings.Contains(out, "what alice wrote") {
		t.Error("the log says:\n", out)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *strings.Builder
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// TestTheQueueIsBounded: what is a day old, and the oldest of too many, is dropped;
// so is what was told a week ago.
func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const job = `insert into realtime.push_jobs (kind, tenant, channel_id, message_id, seq, users, created_at)
	  select 'message', 'primary', $1, gen_random_uuid(), n, array[$2::uuid], now() - n * interval '1 second' from generate_series(1, $3::integer) n`
	r.exec(job, demo.Team, demo.Bob, queueMost+6000)
	r.exec(`insert into realtime.push_told (user_id, channel_id, tenant, message_id, seq, job, at)
	  select gen_random_uuid(), $1, 'primary', gen_random_uuid(), n, gen_random_uuid(), now() - n * interval '1 day' from generate_series(0, 9) n`, demo.Team)
	r.exec(`insert into realtime.push_held (user_id, channel_id, tenant, seq, until) values ($1, $2, 'primary', 1, now() - interval '2 days')`, demo.Bob, demo.Team)
	r.exec(`insert into realtime.push_again (channel_id, tenant, seq, at) values ($1, 'primary', 1, now() - interval '2 days')`, demo.Team)
	if err := sweep.All(t.Context(), r.s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	for q, want := range map[string]int{
		`select count(*) from realtime.push_jobs`:  queueMost,
		`select max(seq) from realtime.push_jobs`:  queueMost,
		`select count(*) from realtime.push_told`:  7,
		`select count(*) from realtime.push_held`:  0,
		`select count(*) from realtime.push_again`: 0,
	} {
		var n int
		if err := r.pool.QueryRow(t.Context(), q).Scan(&n); err != nil || n != want {
			t.Errorf("%s: %d %v, want %d", q, n, err, want)
		}
	}
	r.exec(`update realtime.push_jobs set created_at = now() - interval '25 hours' where seq > 5`)
	if err := sweep.All(t.Context(), r.s.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if n := r.jobs(); n != 5 {
		t.Errorf("%d jobs are left", n)
	}
}

// TestNightsEnd: on the user's own clock, past midnight, and where clocks change.
func TestNightsEnd(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		from, to, zone, now, until string // until "": not quiet
	}{
		{"22:00", "07:00", "Europe/Berlin", "2026-01-10T20:59:00Z", ""},
		{"22:00", "07:00", "Europe/Berlin", "2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"},
		{"22:00", "07:00", "Europe/Berlin", "2026-01-11T05:59:59Z", "2026-01-11T06:00:00Z"},
		{"22:00", "07:00", "Europe/Berlin", "2026-01-11T06:00:00Z", ""},
		{"22:00", "07:00", "Europe/Berlin", "2026-07-10T20:00:00Z", "2026-07-11T05:00:00Z"},
		{"22:00", "07:00", "Asia/Kathmandu", "2026-01-10T16:15:00Z", "2026-01-11T01:15:00Z"},
		{"22:00", "07:00", "Europe/Berlin", "2026-12-31T22:30:00Z", "2027-01-01T06:00:00Z"},
		{"12:00", "13:30", "America/New_York", "2026-01-10T17:30:00Z", "2026-01-10T18:30:00Z"},
		{"12:00", "13:30", "America/New_York", "2026-01-10T18:30:00Z", ""},
		{"22:00", "07:00", "Europe/Berlin", "2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z"}, // the hour that is not
		{"22:00", "07:00", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T06:00:00Z"}, // the hour that comes twice
		{"22:00", "07:00", "Mars/Olympus", "2026-01-10T23:00:00Z", ""},
	} {
		from, _ := minutes("from", c.from)
		to, _ := minutes("to", c.to)
		until, quiet := night{from, to, c.zone}.ends(at(c.now), zones{})
		if quiet != (c.until != "") || quiet && !until.Equal(at(c.until)) {
			t.Errorf("%+v: %v %v", c, until, quiet)
		}
	}
	for now, end := at("2026-10-24T20:00:00Z"), at("2026-10-25T02:00:00Z"); now.Before(end); now = now.Add(7 * time.Minute) { // to an hour that comes twice
		if until, quiet := (night{22 * 60, 2*60 + 30, "Europe/Berlin"}).ends(now, zones{}); quiet && !until.After(now) {
			t.Errorf("at %v quiet until %v", now, until)
		}
	}
}

func TestQuietHoursAreJudged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h, v := Hours{r.pool}, viewer.Of("primary", demo.Bob)
	for _, c := range []struct {
		q     QuietHours
		field string
	}{
		{QuietHours{"24:00", "07:00", "UTC"}, "input.from"}, {QuietHours{"7:00", "08:00", "UTC"}, "input.from"}, {QuietHours{"", "07:00", "UTC"}, "input.from"},
		{QuietHours{"22:00", "07:60", "UTC"}, "input.to"}, {QuietHours{"22:00", "07:00:00", "UTC"}, "input.to"}, {QuietHours{"22:00", "٠٧:٠٠", "UTC"}, "input.to"},
		{QuietHours{"22:00", "22:00", "UTC"}, "input.to"}, {QuietHours{"22:00", "07:00", ""}, "input.timeZone"}, {QuietHours{"22:00", "07:00", "Local"}, "input.timeZone"},
		{QuietHours{"22:00", "07:00", "Europe/Nowhere"}, "input.timeZone"}, {QuietHours{"22:00", "07:00", "../../etc/passwd"}, "input.timeZone"},
		{QuietHours{"22:00", "07:00", "UTC\x00"}, "input.timeZone"}, {QuietHours{"22:00", "07:00", strings.Repeat("x", 1<<20)}, "input.timeZone"},
	} {
		_, err := h.Set(t.Context(), v, &c.q)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Invalid || f.Field != c.field {
			t.Errorf("%.60v: %v", c.q, err)
		}
	}
	if got, err := h.Of(t.Context(), v); got != nil || err != nil {
		t.Errorf("refused, and kept: %v %v", got, err)
	}
	want := QuietHours{"22:05", "00:00", "Europe/Berlin"}
	if _, err := h.Set(t.Context(), v, &want); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Of(t.Context(), v); err != nil || got == nil || *got != want {
		t.Errorf("%v %v", got, err)
	}
	if got, err := h.Of(t.Context(), viewer.Of("other", demo.Bob)); got != nil || err != nil {
		t.Errorf("in another tenant %v %v", got, err)
	}
	for _, err := range []error{second(h.Of(t.Context(), viewer.Viewer{})), second(h.Set(t.Context(), viewer.Viewer{}, nil))} {
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Denied {
			t.Errorf("nobody: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
