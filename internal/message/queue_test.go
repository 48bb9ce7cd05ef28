package message

import (
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestAnswersToWhatIsNoMore: what was typed while its parent was taken back is
// sent; what is no message of the channel has an error of its own.
func TestAnswersToWhatIsNoMore(t *testing.T) {
	t.Parallel()
	const erased = `update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`
	for name, c := range map[string]struct {
		change string // SQL, with $1 the parent
		sent   bool
		named  bool // the parent is kept
	}{
		"as it was":            {`select $1::uuid`, true, true},
		"deleted":              {erased, true, true},
		"deleted for good":     {`delete from public.nchat_messages where id = $1`, true, false},
		"not published yet":    {`update public.nchat_messages set scheduled_at = now() + interval '1 hour', published_at = null where id = $1`, true, false},
		"moved away":           {`with m as (update public.nchat_messages set channel_id = '` + demo.General.String() + `' where id = $1) select`, true, false},
		"deleted, and another": {`update public.nchat_messages set channel_id = '` + demo.DaveAlice.String() + `', is_deleted = true where id = $1`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			parent := r.send(r.one, as(demo.Alice), say("parent", demo.Team, "hi")).Message.ID
			r.exec(c.change, parent)
			in := say("answer", demo.Team, "a long answer")
			in.Parent = &parent
			for _, again := range []bool{false, true} {
				res := r.send(r.two, as(demo.Bob), in)
				if res.Err != nil || res.Duplicate != again || res.Message == nil {
					t.Fatalf("again %v: %+v", again, res)
				}
				if p := res.Message.ParentMessageID; (p != nil) != c.named || c.named && *p != parent {
					t.Errorf("again %v: its parent is %v", again, p)
				}
			}
		})
	}
	r := newRig(t)
	foreign, unknown := uuid.MustParse("00000000-0000-4000-b000-000000000001"), uuid.New()
	for name, parent := range map[string]uuid.UUID{"another channel's": foreign, "none": unknown} {
		in := say(name, demo.Team, "answer")
		in.Parent = &parent
		if res := r.send(r.one, as(demo.Bob), in); code(res.Err) != fault.Invalid || res.Err.Field != "parentMessageId" || res.Err.Retryable {
			t.Errorf("%s: %v", name, res.Err)
		}
	}
	if n := r.count(`select count(*) from realtime.client_keys`); n != 0 {
		t.Errorf("a refusal leaves %d keys", n)
	}
}

// TestTheSameEditOnceMore: its answer got lost. It is answered as it was, and
// nothing that came after it is written over.
func TestTheSameEditOnceMore(t *testing.T) {
	t.Parallel()
	const first, other = "see you at 5 tomorrow", "see you at 6 tomorrow"
	for name, c := range map[string]struct {
		merge bool
		stale bool   // another edit came before it
		after string // SQL, with $1 the message, between the edit and its repetition
		text  string
		says  string
		how   Resolution
	}{
		"at once":                       {text: "third", says: "third"},
		"the system's in between":       {after: `update public.nchat_messages set content = 'moderated' where id = $1`, text: "third", says: "moderated"},
		"the author's own in between":   {text: "third", says: "later"},
		"with other metadata":           {after: `update public.nchat_messages set metadata = '{"x":1}' where id = $1`, text: "third", says: "third"},
		"stale":                         {stale: true, text: "third", says: "third", how: ClientWins},
		"stale and merged":              {merge: true, stale: true, text: first + "!", says: other + "!", how: Merged},
		"stale and not applied":         {merge: true, stale: true, text: "see you at 7 tomorrow", says: other, how: ServerWins},
		"stale and merged, overruled":   {merge: true, stale: true, after: `update public.nchat_messages set content = 'moderated' where id = $1`, text: first + "!", says: "moderated", how: Merged},
		"what it says already, stale":   {stale: true, text: other, says: other},
		"what it says already, at once": {text: first, says: first},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *Options) { o.Merge = c.merge })
			id := r.send(r.one, as(demo.Bob), say("k", demo.Team, first)).Message.ID
			change := func(s *Service, text string, base int) (Message, *Conflict) {
				t.Helper()
				m, conflict, err := s.Edit(t.Context(), as(demo.Bob), id, text, base)
				if err != nil {
					t.Fatal(err)
				}
				return m, conflict
			}
			if c.stale {
				change(r.one, other, 1)
			}
			m, was := change(r.one, c.text, 1)
			if c.after != "" {
				r.exec(c.after, id)
			}
			if c.says == "later" {
				change(r.one, "later", m.Version)
			}
			before := r.count(`select coalesce(max(version), 1) from realtime.revisions where message_id = $1`, id)
			again, is := change(r.two, c.text, 1)
			if (is == nil) != (was == nil) || is != nil && !reflect.DeepEqual(is, was) || (was == nil) != (c.how == "") || was != nil && was.Resolution != c.how {
				t.Errorf("conflict %+v, before %+v, want %q", is, was, c.how)
			}
			if *again.Content != c.says || again.Version != before {
				t.Errorf("it says %q, version %d; want %q, version %d", *again.Content, again.Version, c.says, before)
			}
		})
	}
}

// TestTheSameEditTooLate: once what it stood on is gone, an edit sent again is told
// so, and what was deleted stays so.
func TestTheSameEditTooLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		merge   bool
		later   string // the author's own next edit
		deleted bool
		says    string
		how     Resolution
	}{
		"deleted":                   {deleted: true, how: ServerWins},
		"deleted, after more":       {later: "later", deleted: true, how: ServerWins},
		"forgotten":                 {later: "later", says: "first", how: ClientWins},
		"forgotten, to be merged":   {merge: true, later: "later", says: "later", how: ServerWins},
		"forgotten, and still said": {says: "first", how: ClientWins},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *Options) { o.Merge = c.merge })
			m := r.send(r.one, as(demo.Bob), say("k", demo.Team, "as sent")).Message
			for i, text := range []string{"first", c.later} {
				if text == "" {
					continue
				}
				if _, conflict, err := r.one.Edit(t.Context(), as(demo.Bob), m.ID, text, i+1); err != nil || conflict != nil {
					t.Fatal(conflict, err)
				}
			}
			if c.deleted {
				if _, err := r.one.Delete(t.Context(), as(demo.Bob), m.ID); err != nil {
					t.Fatal(err)
				}
			} else {
				r.exec(`delete from realtime.message_versions where message_id = $1`, m.ID)
			}
			again, conflict, err := r.two.Edit(t.Context(), as(demo.Bob), m.ID, "first", 1)
			if err != nil || conflict == nil || conflict.Resolution != c.how || *conflict.Client != "first" {
				t.Fatalf("%+v %v, want %s", conflict, err, c.how)
			}
			if c.deleted != (again.DeletedAt != nil) || !c.deleted && *again.Content != c.says {
				t.Errorf("it is %+v, want %q", again, c.says)
			}
		})
	}
}
