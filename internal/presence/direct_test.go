package presence

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestWhichDirectChannelsMakeContacts: those between two, by what was written
// there since they are; alice shows herself to contacts, and dave looks.
func TestWhichDirectChannelsMakeContacts(t *testing.T) {
	t.Parallel()
	const (
		write  = `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'x')`
		join   = `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`
		leave  = `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`
		direct = `update public.nchat_channels set type = 'direct' where id = $1`
	)
	for what, c := range map[string]struct {
		steps func(do func(sql string, args ...any))
		want  Status
	}{
		"a word to dave": {func(do func(string, ...any)) { do(write, demo.DaveAlice, demo.Alice) }, Online},
		"a group made direct": {func(do func(string, ...any)) {
			do(join, demo.Team, demo.Dave)
			do(write, demo.Team, demo.Alice)
			do(direct, demo.Team)
			do(write, demo.Team, demo.Alice)
		}, Offline},
		"of two, made direct later": {func(do func(string, ...any)) {
			do(leave, demo.Team, demo.Bob)
			do(leave, demo.Team, demo.Carol)
			do(join, demo.Team, demo.Dave)
			do(write, demo.Team, demo.Alice)
			do(direct, demo.Team)
		}, Offline},
		"of two, made direct, and a word since": {func(do func(string, ...any)) {
			do(leave, demo.Team, demo.Bob)
			do(leave, demo.Team, demo.Carol)
			do(join, demo.Team, demo.Dave)
			do(direct, demo.Team)
			do(write, demo.Team, demo.Alice)
		}, Online},
		"dave joins two": {func(do func(string, ...any)) {
			do(join, demo.AliceBob, demo.Dave)
			do(write, demo.AliceBob, demo.Alice)
		}, Offline},
		"dave comes in bob's place": {func(do func(string, ...any)) {
			do(write, demo.AliceBob, demo.Alice)
			do(leave, demo.AliceBob, demo.Bob)
			do(join, demo.AliceBob, demo.Dave)
		}, Offline},
		"dave comes in bob's place, and is written to": {func(do func(string, ...any)) {
			do(leave, demo.AliceBob, demo.Bob)
			do(join, demo.AliceBob, demo.Dave)
			do(write, demo.AliceBob, demo.Alice)
		}, Online},
		"a third goes": {func(do func(string, ...any)) {
			do(join, demo.DaveAlice, demo.Erin)
			do(write, demo.DaveAlice, demo.Alice)
			do(leave, demo.DaveAlice, demo.Erin)
		}, Online},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			n := r.node(quick)
			alice := r.connect(n, demo.Alice)
			if _, err := n.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Contacts)}, nil); err != nil {
				t.Fatal(err)
			}
			told := r.watch(n, as(demo.Dave), demo.Alice)
			if v := next(t, told); v.Status != Offline {
				t.Fatalf("before: %+v", v)
			}
			c.steps(func(sql string, args ...any) {
				r.exec(sql, args...)
				r.exec(`select realtime.sequence(1000, false)`)
			})
			if v := r.see(n, as(demo.Dave), demo.Alice); v.Status != c.want {
				t.Errorf("dave sees %v", v.Status)
			}
			list, _, _, err := n.Lists.Contacts(t.Context(), alice, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if listed := len(list) > 0 && list[len(list)-1].UserID == demo.Dave; listed != (c.want == Online) {
				t.Errorf("her contacts are %+v", list)
			}
			// Live streams hear of it: what makes a contact, and what unmakes one, touches.
			n.Watch.Notify("audience/" + demo.Alice.String())
			if c.want == Online {
				if v := next(t, told); v.Status != Online {
					t.Errorf("the stream says %v", v.Status)
				}
			}
		})
	}
}

// TestContactsCostTheSame however many are in a direct channel, and however much
// was written there before it was one.
func TestContactsCostTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const crowd = `
with u as (insert into public.nchat_users (email, display_name) select 'crowd' || i, 'x' from generate_series(1, 3000) i returning id)
insert into public.nchat_channel_members (channel_id, user_id) select $1, id from u`
	r.exec(crowd, demo.AliceBob)
	r.exec(`alter table public.nchat_messages disable trigger user`)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content, created_at)
select $1, u, 'x', now() - interval '1 year' + i * interval '1 second' from generate_series(1, 20000) i, unnest($2::uuid[]) u`,
		demo.DaveAlice, []uuid.UUID{demo.Alice, demo.Dave})
	r.exec(`alter table public.nchat_messages enable trigger user`)
	r.exec(`vacuum analyze`)
	for _, pair := range [][2]uuid.UUID{{demo.Alice, demo.Dave}, {demo.Alice, demo.Bob}, {demo.Bob, demo.Alice}} {
		var plan []struct{ Plan planned }
		var text []byte
		err := r.pool.QueryRow(t.Context(), `explain (analyze, timing off, format json)
select exists (select from realtime.nchat_dm_contacts() c where c.user_id = '`+pair[0].String()+`' and c.contact_user_id = '`+pair[1].String()+`')`).Scan(&text)
		if err != nil || json.Unmarshal(text, &plan) != nil {
			t.Fatal(err)
		}
		if n := plan[0].Plan.rows(); n > 300 {
			t.Errorf("looked at %v rows: %s", n, text)
		}
	}
}

// planned is a node of a plan, as it went.
type planned struct {
	Rows    float64   `json:"Actual Rows"`
	Loops   float64   `json:"Actual Loops"`
	Removed float64   `json:"Rows Removed by Filter"`
	Plans   []planned `json:"Plans"`
}

func (p planned) rows() float64 {
	n := (p.Rows + p.Removed) * p.Loops
	for _, x := range p.Plans {
		n += x.rows()
	}
	return n
}

// TestWhoIsNoContactAnyMoreIsLookedAt: of each way in which rows of members make a direct
// channel one between others, those who were two are touched, and so looked at again.
func TestWhoIsNoContactAnyMoreIsLookedAt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for what, c := range map[string]struct {
		sql  string
		args []any
		whom []uuid.UUID
	}{
		"three join at once": {`insert into public.nchat_channel_members (channel_id, user_id) select $1, unnest($2::uuid[])`,
			[]any{demo.DaveAlice, []uuid.UUID{demo.Bob, demo.Carol, demo.Erin}}, []uuid.UUID{demo.Alice, demo.Dave}},
		"a row goes to another channel": {`update public.nchat_channel_members set channel_id = $1 where channel_id = $2 and user_id = $3`,
			[]any{demo.Team, demo.DaveAlice, demo.Dave}, []uuid.UUID{demo.Alice, demo.Dave}},
		"a row goes to another user": {`update public.nchat_channel_members set user_id = $1 where channel_id = $2 and user_id = $3`,
			[]any{demo.Erin, demo.DaveAlice, demo.Dave}, []uuid.UUID{demo.Alice, demo.Dave, demo.Erin}},
	} {
		err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
			var n int
			b := &pgx.Batch{}
			b.Queue(`delete from realtime.audience`)
			b.Queue(c.sql, c.args...)
			b.Queue(`select count(distinct user_id) from realtime.audience where user_id = any($1)`, c.whom).
				QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
			if err := tx.SendBatch(t.Context(), b).Close(); err != nil {
				return err
			}
			if n != len(c.whom) {
				t.Errorf("%s: %d of %d are looked at again", what, n, len(c.whom))
			}
			return errUndone
		})
		if !errors.Is(err, errUndone) {
			t.Fatal(err)
		}
	}
}
