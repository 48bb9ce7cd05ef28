package presence

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestDecisionTable walks every combination of who the viewer is and what the
// target chose, against the table written out a second time, as a person reads it.
func TestDecisionTable(t *testing.T) {
	t.Parallel()
	n := 0
	for _, vis := range []Visibility{Everyone, Contacts, Nobody, "", "friends"} {
		for bits := range 1 << 10 {
			b := func(i int) bool { return bits>>i&1 == 1 }
			rec := target()
			rec.settings.Visibility = vis
			rec.settings.ShowOnlineStatus, rec.settings.ShowLastSeen = b(0), b(1)
			rec.known = b(2)
			rel := relation{contact: b(3), blocked: b(4), viewer: b(5), sharesStatus: b(6), sharesLastSeen: b(7)}
			r := rules
			r.Reciprocity = b(8)
			if b(9) { // invisible since an hour
				since := noon.Add(-time.Hour)
				rec.settings.InvisibleMode, rec.hiddenSince, rec.frozen, rec.frozenLine = true, &since, Online, rec.custom
			}
			got, _ := project(rec, rel, r, outage{}, noon)

			want := neverSeen(rec.key.User)
			mayBeSeen := vis == Everyone || vis == Contacts && rel.contact
			if rec.known && rel.viewer && !rel.blocked && mayBeSeen {
				want.CustomStatus = &Custom{Text: ptr("lunch")}
				if rec.settings.ShowOnlineStatus && (rel.sharesStatus || !r.Reciprocity) && !rec.settings.InvisibleMode {
					want.Status = Online
				}
				if rec.settings.ShowLastSeen && (rel.sharesLastSeen || !r.Reciprocity) {
					at := time.Date(2026, 5, 4, 10, 30, 0, 0, time.UTC)
					if rec.settings.InvisibleMode {
						at = time.Date(2026, 5, 4, 11, 0, 0, 0, time.UTC)
					}
					want.LastSeenAt = &at
				}
			}
			if !got.equal(want) {
				t.Fatalf("visibility %q, bits %010b: got %s, want %s", vis, bits, show(got), show(want))
			}
			n++
		}
	}
	if n != 5*1024 {
		t.Fatal("not every combination")
	}
}

func TestDisclosureNeverTellsOfInvisibility(t *testing.T) {
	t.Parallel()
	rec := target()
	plain := disclose(rec, relation{viewer: true, contact: true}, rules)
	rec.settings.InvisibleMode, rec.hiddenSince, rec.frozen = true, ptr(noon), Online
	if got := disclose(rec, relation{viewer: true, contact: true}, rules); got != plain || got.IsInvisible {
		t.Fatalf("%+v, visible: %+v", got, plain)
	}
	if got := disclose(rec, relation{self: true}, rules); !got.IsInvisible {
		t.Fatal("not even to oneself")
	}
	for name, rel := range map[string]relation{"blocked": {viewer: true, contact: true, blocked: true}, "stranger of contacts": {viewer: true}} {
		rec.settings.Visibility = Contacts
		if got := disclose(rec, rel, rules); got != (Disclosure{}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestReciprocityCannotBePeekedAround(t *testing.T) {
	t.Parallel()
	me := &record{known: true, settings: Settings{ShowOnlineStatus: true, ShowLastSeen: true, statusSharedSince: ptr(noon)}}
	var rel relation
	rel.share(me, noon.Add(23*time.Hour))
	if rel.sharesStatus || !rel.sharesLastSeen {
		t.Fatalf("%+v: sharing again for a glance shows nothing for a day", rel)
	}
	rel.share(me, noon.Add(24*time.Hour))
	if !rel.sharesStatus {
		t.Fatal("never again")
	}
	rel.share(nil, noon)
	if rel.sharesStatus || rel.sharesLastSeen {
		t.Fatal("an unknown viewer shares")
	}
}

func TestWhoMaySeeWhomTyping(t *testing.T) {
	t.Parallel()
	for bits := range 1 << 8 {
		b := func(i int) bool { return bits>>i&1 == 1 }
		for _, vis := range []Visibility{Everyone, Contacts, Nobody, ""} {
			rec := target()
			rec.known, rec.settings.InvisibleMode = b(0), b(1)
			if b(2) {
				rec.hiddenSince = ptr(noon)
			}
			rec.settings.BroadcastTyping, rec.settings.TypingVisibility = b(3), vis
			rel := relation{self: b(4), viewer: b(5), blocked: b(6), contact: b(7)}
			for _, presence := range []Visibility{Everyone, Contacts, Nobody, ""} { // one law with receipts
				rec.settings.Visibility = presence
				want := b(0) && !b(1) && !b(2) && b(3) && !b(4) && b(5) && !b(6) && (vis == Everyone || vis == Contacts && b(7)) &&
					(presence == Everyone || presence == Contacts && b(7))
				if got := mayType(rec, rel); got != want {
					t.Fatalf("%08b %q %q: %v", bits, vis, presence, got)
				}
			}
		}
	}
}

// Whatever else is true of the two, who may learn nothing of a user is told nothing
// by any of the rules.
func TestOneRuleStandsUnderAll(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 20000 {
		rec, rel := anybody(rng)
		rel.self = false
		if rng.IntN(2) == 0 {
			live(rng, rec)
		}
		view, _ := project(rec, rel, rules, outage{}, noon)
		told := entitle(rec, rel, rules) != grants{} || disclose(rec, rel, rules) != Disclosure{} || mayType(rec, rel) || !view.equal(neverSeen(rec.key.User))
		if closed := !rec.known || !rel.viewer || rel.blocked; closed == open(rec, rel) || closed && told {
			t.Fatalf("round %d: %+v learns something of %+v: %s", i, rel, rec.settings, show(view))
		}
		if mayType(rec, rel) && rec.invisible() {
			t.Fatalf("round %d: typing of the invisible", i)
		}
	}
}

// anybody is a user and what a viewer is to it, at random.
func anybody(rng *rand.Rand) (*record, relation) {
	b := func() bool { return rng.IntN(2) == 0 }
	vis := func() Visibility { return []Visibility{Everyone, Contacts, Nobody, "", "friends"}[rng.IntN(5)] }
	rec := target()
	rec.known = rng.IntN(4) > 0
	rec.settings = Settings{Visibility: vis(), ShowOnlineStatus: b(), ShowLastSeen: b(), AllowReadReceipts: b(), AllowDeliveryReceipts: b(),
		InvisibleMode: b(), BroadcastTyping: b(), TypingVisibility: vis()}
	if b() {
		rec.hiddenSince, rec.frozen = ptr(noon), Online
	}
	return rec, relation{self: b(), contact: b(), blocked: rng.IntN(4) == 0, viewer: rng.IntN(4) > 0, sharesStatus: b(), sharesLastSeen: b()}
}

// A list of who may learn of receipts says of each viewer what the decision table does.
func TestWhoLearnsOfReceiptsIsWhoSeesPresence(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 20000 {
		rec, rel := anybody(rng)
		rel.self, rel.viewer = false, true // receipts are told to members alone
		viewer, others := uuid.New(), []uuid.UUID{uuid.New(), uuid.New()}
		contacts, blocked := others[:1:1], others[1:2:2]
		if rel.contact {
			contacts = append(contacts, viewer)
		}
		if rel.blocked {
			blocked = append(blocked, viewer)
		}
		a := audience(rec, contacts, blocked)
		shown := (a.ShownTo == nil || slices.Contains(a.ShownTo, viewer)) && !slices.Contains(a.HiddenFrom, viewer)
		sees := entitle(rec, rel, rules).presence
		if got, want := shown && a.Read, sees && rec.settings.AllowReadReceipts; got != want {
			t.Fatalf("round %d: read receipts shown %v, want %v: %+v of %+v", i, got, want, rel, rec.settings)
		}
		if got, want := shown && a.Delivered, sees && rec.settings.AllowDeliveryReceipts; got != want {
			t.Fatalf("round %d: delivery shown %v, want %v: %+v of %+v", i, got, want, rel, rec.settings)
		}
	}
}

func TestWhoSharesReading(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rec  record
		want bool
	}{
		"always did":      {record{known: true, settings: Settings{AllowReadReceipts: true}}, true},
		"does not":        {record{known: true}, false},
		"since a moment":  {record{known: true, settings: Settings{AllowReadReceipts: true, receiptsSharedSince: ptr(noon.Add(time.Second - hysteresis))}}, false},
		"since a day":     {record{known: true, settings: Settings{AllowReadReceipts: true, receiptsSharedSince: ptr(noon.Add(-hysteresis))}}, true},
		"unknown":         {record{settings: Settings{AllowReadReceipts: true}}, false},
		"nothing is read": {record{}, false},
	} {
		if got := sharesReading(&c.rec, noon); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The one rule that stands in SQL as well says what it does in Go.
func TestInvisibleIsTheSameInSQL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for bits := range 4 {
		since, mode := bits&1 == 1, bits&2 == 2
		k := Key{Tenant: primary, User: uuid.New()}
		r.exec(`insert into realtime.presence (tenant, user_id, hidden_since) values ($1, $2, case when $3 then now() end)`, k.Tenant, k.User, since)
		r.exec(`insert into realtime.presence_settings (tenant, user_id, invisible_mode) values ($1, $2, $3)`, k.Tenant, k.User, mode)
		rec, err := loadRecord(t.Context(), r.pool, k)
		if err != nil {
			t.Fatal(err)
		}
		var held bool
		if err := r.pool.QueryRow(t.Context(), `select realtime.hold_invisible($1, $2)`, k.Tenant, k.User).Scan(&held); err != nil {
			t.Fatal(err)
		}
		if want := since || mode; held != want || rec.invisible() != want {
			t.Errorf("hidden %v, mode %v: %v in SQL, %v in Go", since, mode, held, rec.invisible())
		}
	}
}

// What the database is asked for is what the rules are asked about.
func TestUnsharedAsksTheRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mutual := quick
	mutual.ReceiptReciprocity = true
	n, ctx := r.node(mutual), t.Context()
	r.connect(n, demo.Carol)
	r.exec(`create table public.nchat_user_settings (user_id uuid primary key, show_online_status boolean, show_typing_indicator boolean, read_receipts boolean)`)
	r.exec(`insert into public.nchat_user_settings values ($1, null, null, false), ($2, null, null, false)`, demo.Dave, demo.Erin)
	pgtest.Migrate(t, r.pool)
	for user, allow := range map[uuid.UUID]bool{demo.Alice: false, demo.Erin: true} { // erin shares again, but not for long
		if _, err := n.Edit.UpdateSettings(ctx, as(user), Change{AllowReadReceipts: &allow}, nil); err != nil {
			t.Fatal(err)
		}
	}
	stranger := uuid.New()
	all := []uuid.UUID{demo.Frank, stranger, demo.Alice, demo.Bob, demo.Erin, demo.Dave, demo.Carol}
	got, err := n.Read.Unshared(ctx, r.pool, primary, all)
	if want := []uuid.UUID{stranger, demo.Alice, demo.Erin, demo.Dave}; err != nil || !slices.Equal(got, want) {
		t.Errorf("unshared: %v, %v; want %v", got, err, want)
	}
	if got, err := n.Read.Unshared(ctx, r.pool, "other", []uuid.UUID{demo.Bob}); err != nil || len(got) != 1 {
		t.Errorf("in another tenant bob is unknown: %v, %v", got, err)
	}
}
