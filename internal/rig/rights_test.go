package rig

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	lookAt = `query ($u: uuid!) { presenceVisibility(userId: $u) { canViewOnlineStatus } }`
	showIt = `mutation ($on: Boolean!) { updatePresenceSettings(input: {showOnlineStatus: $on}) { showOnlineStatus } }`
	setIt  = `mutation ($s: PresenceStatus!) { setPresence(status: $s) { status } }`
)

// endRights takes memberships away, has users block others and hide their status, and
// gives all back, each time others: whoever is not to know any more is told nothing.
func endRights(r *rig, long bool) string {
	times, outs, hidden := 1, 0, 0
	if long {
		times = 100
	}
	bound := pick(long, patient, time.Second)
	for range times {
		var undo []func()
		gone := r.removed()
		for _, c := range gone {
			undo = append(undo, r.remove(c, bound))
		}
		r.mu.Lock()
		first := len(r.h.Hidden)
		r.mu.Unlock()
		undo = append(undo, r.block(bound), r.hide(bound))
		pause(pick(long, 200*time.Millisecond, time.Duration(r.rand.Int64N(int64(2*bound)))))
		r.looks(first, gone, true)
		for _, f := range undo {
			f()
		}
		r.looks(first, gone, false)
		outs, hidden = outs+len(gone), hidden+2
	}
	return fmt.Sprintf("%d memberships, %d blocks and settings", outs, hidden)
}

// never is when something ends that has not yet.
var never = time.Now().Add(1e4 * time.Hour)

// turn does something, and returns what takes it back. Between what is noted before
// each and after it may be so or not.
func (r *rig) turn(at func() []*Turn, bound time.Duration, do, undo func()) func() {
	note := func(set func(t *Turn, now time.Time)) {
		r.record(func() {
			for _, t := range at() {
				set(t, time.Now())
			}
		})
	}
	note(func(t *Turn, now time.Time) { *t = Turn{Began: now, At: never, Bound: bound} })
	do()
	note(func(t *Turn, now time.Time) { t.At = now })
	return func() {
		note(func(t *Turn, now time.Time) { t.BackBegan, t.Back = now, never })
		undo()
		note(func(t *Turn, now time.Time) { t.Back = now })
	}
}

// removed are who is to be taken out of the last room.
func (r *rig) removed() (list []*client) {
	for _, i := range r.rand.Perm(len(r.clients)) {
		if c := r.clients[i]; r.channelsOf(i)[1] == r.lastRoom() && !r.left(c.user) && len(list) < 3 {
			list = append(list, c)
		}
	}
	return list
}

func (r *rig) lastRoom() string { return r.rooms[len(r.rooms)-1] }

func (r *rig) remove(c *client, bound time.Duration) func() {
	var i int
	r.record(func() {
		i, r.h.Outs = len(r.h.Outs), append(r.h.Outs, Out{User: c.user, Channel: r.lastRoom()})
	})
	values := fmt.Sprintf(`'%s', '%s'`, r.lastRoom(), c.user)
	return r.turn(func() []*Turn { return []*Turn{&r.h.Outs[i].Turn} }, bound,
		func() {
			r.sql(`delete from public.nchat_channel_members where (channel_id, user_id) = (` + values + `)`)
		},
		func() {
			r.sql(`insert into public.nchat_channel_members (channel_id, user_id) values (` + values + `)`)
		})
}

// excused reports whether somebody may have been no member of a room since.
func (r *rig) excused(user string, since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.h.Outs, func(o Out) bool { return o.User == user && o.mayHold(since, time.Now()) })
}

// typingOf is where a client is told who types: every other one in its own room too, as
// long as it is a member, for its stream ends with that.
func (r *rig) typingOf(at int) []string {
	mine := r.channelsOf(at)
	if at%2 == 0 || r.excused(r.clients[at].user, time.Now()) {
		return mine[:1]
	}
	return mine
}

// hidden notes that viewers may not see somebody, from when it is done.
func (r *rig) hidden(target *client, viewers []int, all bool, bound time.Duration, do, undo func()) func() {
	var first int
	r.record(func() {
		first = len(r.h.Hidden)
		for _, v := range viewers {
			r.h.Hidden = append(r.h.Hidden, Hidden{Viewer: userID(v).String(), Target: target.user, All: all})
		}
	})
	return r.turn(func() (list []*Turn) {
		for i := range viewers {
			list = append(list, &r.h.Hidden[first+i].Turn)
		}
		return list
	}, bound, do, undo)
}

// block has somebody block one of those who watch it. What that one may know of
// receipts is another then: it is not one whose counts are asked.
func (r *rig) block(bound time.Duration) func() {
	at := r.somebody(func(i int) bool { return i%counted != 0 })
	target := r.clients[(at+1+r.rand.IntN(watches))%len(r.clients)]
	values := fmt.Sprintf(`'%s', '%s'`, target.user, userID(at))
	return r.hidden(target, []int{at}, true, bound,
		func() {
			r.sql(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values (` + values + `)`)
		},
		func() {
			r.sql(`delete from public.nchat_blocked_users where (blocker_id, blocked_user_id) = (` + values + `)`)
		})
}

// hide has somebody share its status no more, by its settings.
func (r *rig) hide(bound time.Duration) func() {
	at := r.somebody(func(i int) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !slices.ContainsFunc(r.h.Hidden, func(x Hidden) bool { return x.Target == userID(i).String() && x.Back.IsZero() })
	})
	target := r.clients[at]
	var viewers []int
	for i := range watches {
		viewers = append(viewers, (at-1-i+2*len(r.clients))%len(r.clients))
	}
	set := func(on bool) func() {
		return func() {
			var out struct{ ShowOnlineStatus bool }
			if !target.until(context.Background(), showIt, map[string]any{"on": on}, "updatePresenceSettings", &out) {
				r.odd("updatePresenceSettings: never answered")
			}
		}
	}
	return r.hidden(target, viewers, false, bound, set(false), set(true))
}

// somebody is one of the clients that have not left.
func (r *rig) somebody(is func(int) bool) int {
	for {
		if i := r.rand.IntN(len(r.clients)); is(i) && !r.left(r.clients[i].user) {
			return i
		}
	}
}

// looks waits until everybody knows, has who is hidden do something, and asks what may
// be seen of it.
func (r *rig) looks(first int, gone []*client, hidden bool) {
	r.t.Helper()
	for _, c := range gone {
		eventually(r.t, "it knows whether it is a member", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.out[r.lastRoom()] == hidden
		})
	}
	r.mu.Lock()
	list := slices.Clone(r.h.Hidden[first:])
	r.mu.Unlock()
	ctx := context.Background()
	did := map[string]bool{}
	for _, x := range list {
		if r.left(x.Viewer) || r.left(x.Target) {
			continue
		}
		eventually(r.t, "it sees what it may", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			online := false
			for _, s := range slices.Backward(r.h.Seen) {
				if s.Viewer == x.Viewer && s.Target == x.Target {
					online = s.Online
					break
				}
			}
			return online != hidden
		})
		for _, s := range []string{"busy", "online"} {
			var out struct{ Status string }
			if hidden && !did[x.Target] && !r.of(x.Target).until(ctx, setIt, map[string]any{"s": s}, "setPresence", &out) {
				r.odd("setPresence: never answered")
			}
		}
		did[x.Target] = true
		r.look(x.Viewer, x.Target)
	}
}

// look asks whether somebody may see another's status.
func (r *rig) look(viewer, target string) {
	var out struct{ CanViewOnlineStatus bool }
	if !r.of(viewer).until(context.Background(), lookAt, map[string]any{"u": target}, "presenceVisibility", &out) {
		r.odd("presenceVisibility: never answered")
		return
	}
	r.record(func() { r.h.Shared = append(r.h.Shared, Shared{viewer, target, out.CanViewOnlineStatus, time.Now()}) })
}

func (r *rig) of(user string) *client {
	return r.clients[slices.IndexFunc(r.clients, func(c *client) bool { return c.user == user })]
}

const renewIt = `mutation ($t: String!) { refreshSession(token: $t) { expiresAt } }`

// endTokens puts all sockets on tokens that end in the same second, and every other one
// on another in time: those go on as they were, and the rest are closed, and come back.
func endTokens(r *rig, long bool) string {
	life := pick(long, 3*time.Second, 90*time.Second)
	renew := func(c *client, life time.Duration) {
		payload, ok := c.overSocket(renewIt, map[string]string{"t": mint(r.t, c.user, life)})
		if !ok || !bytes.Contains(payload, []byte(`"expiresAt"`)) {
			r.odd(fmt.Sprintf("refreshSession: %.200s", payload))
		}
	}
	before, ended := r.cut(), 0
	for _, c := range r.clients {
		if !r.left(c.user) {
			renew(c, life)
			ended += c.at % 2
		}
	}
	pause(life / 3)
	for _, c := range r.clients {
		if c.at%2 == 0 && !r.left(c.user) {
			renew(c, 48*time.Hour)
		}
	}
	var first, last time.Time
	n := 0
	for end := time.Now().Add(life + patient); n < ended && time.Now().Before(end); pause(5 * time.Millisecond) {
		if now := r.cut() - before; now > n {
			n, last = now, time.Now()
			if first.IsZero() {
				first = last
			}
		}
	}
	if long && last.Sub(first) < life/20 {
		r.odd("they ended at once")
	}
	pause(500 * time.Millisecond)
	r.mu.Lock()
	closed := r.ends["4403"]
	r.mu.Unlock()
	if all := r.cut() - before; all != ended || closed != ended {
		r.odd(fmt.Sprintf("%d sockets ended, %d of them with 4403: want %d", all, closed, ended))
	}
	return fmt.Sprintf("tokens of %s: %d sockets ended, over %.1f s; %d were refreshed", life, ended, last.Sub(first).Seconds(), len(r.clients)-ended)
}
