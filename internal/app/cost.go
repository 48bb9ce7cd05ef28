package app

import (
	"bytes"
	"context"
	"encoding/json"
	"math"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// What an address may spend beside one user, and of what a user may spend the part
// that one socket may: a device gone mad leaves its user's others the rest.
const (
	addressShare = 20
	sessionShare = 2
	bodyShare    = 4   // of the operations of a minute, one body
	readShare    = 4   // of the points of a minute, all members of a channel, however large
	countShare   = 400 // of the points of a minute, one counting, however much is unread: receipts are said every second
)

// replaysAtOnce is how many of a user's streams hold messages read for them alone, some 2 MiB each.
const replaysAtOnce = 16

// budgets are what callers are held to, each by buckets of its own.
type budgets struct {
	operations *limit.Limiter // of every caller, whichever way it asks
	points     *limit.Limiter
	session    *limit.Limiter // points of a socket
	address    *limit.Limiter // points of all behind an address
	messages   *limit.Limiter
	watched    *limit.Held
	polls      *limit.Held
	answers    *limit.Held // bytes that wait to be read
	documents  *limit.Held // bytes of those that run
	parts      int         // most that one body counts
	reads      int         // most points that one reading of members costs
	counts     int         // most that one counting of unread messages does
	turns      *limit.Turns
	replays    *limit.Turns // streams that hold messages read for them alone
	parses     *limit.Turns // documents that are parsed and checked
}

func newBudgets(l config.Limits, conns int) *budgets {
	return &budgets{operations: limit.New(l.OperationsPerMinute), points: limit.New(l.PointsPerMinute),
		session: limit.New(max(l.PointsPerMinute/sessionShare, 1)), address: limit.New(l.PointsPerMinute * addressShare),
		messages: limit.New(l.MessagesPerMinute), watched: limit.NewHeld(l.WatchedIDs, "watched ids"), polls: limit.NewHeld(l.WaitingPolls, "polls that wait"),
		parts:   max(l.OperationsPerMinute/bodyShare, 1),
		reads:   max(l.PointsPerMinute/readShare, 1),
		counts:  max(l.PointsPerMinute/countShare, 1),
		answers: limit.NewHeld(heldAnswers, "bytes of answers that nobody has read yet"), documents: limit.NewHeld(heldDocuments, "bytes of documents that run"),
		turns:   limit.NewTurns(max(conns-2, 2), l.FieldsAtOnce), // the rest is for what nobody asks for
		replays: limit.NewTurns(math.MaxInt, replaysAtOnce),      // of each user alone: who does not read holds up nobody else
		parses:  limit.NewTurns(math.MaxInt, 1)}
}

// accounts are who pays for an operation: its user, or for callers without one
// their address, its socket, and all behind its address. What comes by Hasura has
// neither a socket nor an address.
func (b *budgets) accounts(ctx context.Context) []limit.Account {
	key, exempt := rateKey(ctx)
	if exempt {
		return nil
	}
	all := []limit.Account{{Limiter: b.points, Key: key}}
	ip, _ := ctx.Value(ipKey{}).(string)
	if c, ok := wsock.FromContext(ctx); ok {
		all, ip = append(all, limit.Account{Limiter: b.session, Key: c.ID().String()}), clientip.Bucket(c.RemoteIP())
	}
	if ip != "" && auth.From(ctx).Via != auth.ViaHasura {
		all = append(all, limit.Account{Limiter: b.address, Key: ip})
	}
	return all
}

// pay takes points for what is no root field.
func (b *budgets) pay(ctx context.Context, points int) *fault.Error {
	return limit.Pay(ctx, limit.Weight{Points: points}, b.accounts, b.sending)
}

// membersPerPoint are read for a point beside what their field costs.
const membersPerPoint = 200

// reading takes points for n users who are read because they are members of a channel.
func (b *budgets) reading(ctx context.Context, n int) error {
	if f := b.pay(ctx, min(n/membersPerPoint, b.reads)); f != nil {
		return f
	}
	return nil
}

// countedPerPoint are unread messages counted for a point.
const countedPerPoint = 5000

// counted charges for unread messages that were counted: how many is known only then. It
// charges whoever has not read them, and not those behind the same address. What
// a subscription counts again because others wrote, it is not charged for: it rests.
func (b *budgets) counted(ctx context.Context, rows int) {
	if graphql.HasOperationContext(ctx) {
		if op := graphql.GetOperationContext(ctx).Operation; op != nil && op.Operation == ast.Subscription {
			return
		}
	}
	for _, a := range b.accounts(ctx) {
		if a.Limiter != b.address {
			a.Limiter.Charge(a.Key, min(rows/countedPerPoint, b.counts))
		}
	}
}

// sending is who pays for messages.
func (b *budgets) sending(ctx context.Context) (limit.Account, bool) {
	key, exempt := rateKey(ctx)
	return limit.Account{Limiter: b.messages, Key: key}, !exempt
}

// watch holds ids for as long as a subscription runs.
func (b *budgets) watch(ctx context.Context, v viewer.Viewer, n int, alone bool) error {
	back, err := b.watched.Take(v.Tenant+"/"+v.User.String(), n, alone)
	if err == nil {
		context.AfterFunc(ctx, back)
	}
	return err
}

// poll holds a place among a user's polls that wait.
func (b *budgets) poll(v viewer.Viewer) (done func(), err error) {
	return b.polls.Take(v.Tenant+"/"+v.User.String(), 1, false)
}

// room holds an answer's bytes until its caller has read them.
func (b *budgets) room(ctx context.Context, bytes int) (done func(), err error) {
	key, exempt := rateKey(ctx)
	if exempt || auth.From(ctx).Via == auth.ViaHasura {
		return func() {}, nil
	}
	return b.answers.Take(key, bytes, true)
}

// operation counts n operations of whoever asks in ctx; back undoes that.
func (b *budgets) operation(ctx context.Context, n int) (back func(), err error) {
	key, exempt := rateKey(ctx)
	if exempt {
		return func() {}, nil
	}
	if f := b.operations.TakeN(key, n); f != nil {
		return nil, f
	}
	return func() { b.operations.GiveBack(key, n) }, nil
}

// body counts what is no request, or may turn out to be none, as operations.
func (b *budgets) body(ctx context.Context, parts int) (back func(), err error) {
	if auth.From(ctx).Via == auth.ViaHasura {
		return func() {}, nil
	}
	return b.operation(ctx, min(parts, b.parts))
}

// cost of an operation: see weights.
func (b *budgets) cost(l config.Limits, unjoined int) *limit.Cost {
	return &limit.Cost{Weigh: weigh, Caps: limit.Caps{IDs: l.IDs, Rooms: l.Rooms, Messages: l.Batch}, Unjoined: unjoined,
		Accounts: b.accounts, Sending: b.sending}
}

// weight is what a root field costs: points at least, and what its lists add.
type weight struct {
	points  int
	ids     []string // arguments that list ids; a point for each fifty begun
	rooms   string   // the argument that lists rooms; a point for each ten begun
	sends   string   // the argument that lists messages; a point for each ten begun
	batched bool     // a point for each fifty begun
}

// weights is the price list of docs/security.md. What is not in it costs a point.
var weights = map[string]weight{
	"presence":              {batched: true},
	"presenceVisibility":    {batched: true},
	"channelPresenceCounts": {batched: true},
	"messageDelivery":       {batched: true},
	"readState":             {batched: true},
	"threadReadState":       {batched: true},
	"message":               {batched: true},

	"presences":            {points: 1, ids: []string{"userIds"}},
	"presenceChanged":      {points: 1, ids: []string{"userIds"}},
	"deliveryStatuses":     {points: 1, ids: []string{"messageIds"}},
	"acknowledgeDelivered": {points: 1, ids: []string{"input"}},
	"acknowledgeRead":      {points: 1, ids: []string{"input"}},
	"sync":                 {points: 5, ids: []string{"channelIds", "presenceOf"}, rooms: "rooms"},
	"events":               {points: 5, ids: []string{"presenceOf"}, rooms: "rooms"},
	"typingChanged":        {points: 1, rooms: "rooms"},
	"sendMessages":         {points: 1, sends: "input"},
	"sendMessage":          {points: 1},
	"editMessage":          {points: 5}, // two changes are laid over each other, with EDIT_POLICY=merge
	"deleteMessage":        {points: 1},

	"messages":        {points: 3},
	"channelPresence": {points: 5},
	"presenceWindow":  {points: 5},
	"readStates":      {points: 5},
	"unreadTotals":    {points: 2},

	"unreadTotalsChanged": {points: 15}, // it counts at once, and is not charged for what it counts
	"contacts":            {points: 2},
	"messageChanged":      {points: 2},
	"addContact":          {points: 20},
	"removeContact":       {points: 20},
	"blockUser":           {points: 20},
	"unblockUser":         {points: 20},

	"__schema": {points: 100}, // all of it, each time
	"__type":   {points: 10},
}

func weigh(field string, args map[string]any) limit.Weight {
	is, known := weights[field]
	if !known {
		return limit.Weight{Points: 1}
	}
	w := limit.Weight{Points: is.points, Batched: is.batched}
	for _, name := range is.ids {
		w.IDs += limit.Entries(args[name])
	}
	if is.rooms != "" {
		w.Rooms = limit.Entries(args[is.rooms])
	}
	switch {
	case is.sends != "":
		w.Messages = limit.Entries(args[is.sends])
		w.Sent = sent(args[is.sends])
	case field == "sendMessage":
		w.Messages, w.Sent = 1, sent(args["input"])
	case field == "editMessage":
		w.Sent = large(args["content"])
	case field == "deleteMessage":
		w.Sent = 1
	}
	w.Points += begun(w.IDs, 50) + begun(w.Rooms, 10)
	if is.sends != "" {
		w.Points += begun(w.Messages, 10)
	}
	return w
}

// sent is what messages count for: everybody who reads a channel is sent them whole.
func sent(input any) (n int) {
	limit.Each(input, func(m any) { n += large(m) })
	return n
}

// large is one, and one more for every further largeBytes begun.
func large(v any) int { return max(begun(limit.Bytes(v), largeBytes), 1) }

const largeBytes = 4 << 10

func begun(n, of int) int { return (n + of - 1) / of }

// turn is a turn of whoever asks in ctx.
func (b *budgets) turn(ctx context.Context) (done func(), err error) {
	key, exempt := turnKey(ctx)
	if exempt {
		return func() {}, nil
	}
	return b.turns.Take(ctx, key)
}

// holding is a place of whoever asks in ctx among its streams that hold what they have read.
func (b *budgets) holding(ctx context.Context) (done func(), err error) {
	key, exempt := turnKey(ctx)
	if exempt {
		return func() {}, nil
	}
	return b.replays.Take(ctx, key)
}

// action has a caller pay for an action of Hasura's, and wait for its turn; done
// gives that back. Errors: rate-limited, and ctx's.
func (b *budgets) action(ctx context.Context, id auth.Identity, action string, input json.RawMessage) (done func(), err error) {
	if id.UserID == uuid.Nil {
		return func() {}, nil // it is refused anyway
	}
	ctx = auth.With(ctx, id)
	if _, err := b.operation(ctx, 1); err != nil {
		return nil, err
	}
	if f := limit.Pay(ctx, weighAction(action, input), b.accounts, b.sending); f != nil {
		return nil, f
	}
	return b.turn(ctx)
}

// weighAction is what an action costs: as much as the root field that does the same.
func weighAction(action string, input json.RawMessage) limit.Weight {
	switch action {
	case "whoIsOnline":
		return weigh("channelPresence", nil)
	case "sendChatMessage":
		var message map[string]any
		d := json.NewDecoder(bytes.NewReader(input))
		d.UseNumber()
		if d.Decode(&message) != nil { // it is refused
			return limit.Weight{Points: 1, Messages: 1, Sent: large(input)}
		}
		return weigh("sendMessage", map[string]any{"input": message})
	case "markChannelRead":
		return weigh("acknowledgeRead", map[string]any{"input": []any{nil}})
	}
	return weigh(action, nil)
}

// turnKey is whose turn an operation waits for: an admin by secret is nobody's equal.
func turnKey(ctx context.Context) (string, bool) {
	if id := auth.From(ctx); id.Admin && id.UserID == uuid.Nil {
		return "", true
	}
	return rateKey(ctx)
}
