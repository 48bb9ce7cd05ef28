package auth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// TokenLifetime is how long a token is taken to live at most, where nobody says.
const TokenLifetime = 24 * time.Hour

// Revocations are the tokens refused although their signature holds, and the
// users refused whatever they come with, as this node last read them.
type Revocations struct {
	lives    *lifetimes
	lifetime time.Duration
	now      func() time.Time
	loading  sync.Mutex // an older read must not come after a newer one

	mu     sync.RWMutex
	barred map[revokedUser]struct{}  // guarded by mu
	users  map[revokedUser]time.Time // guarded by mu
	tokens map[revokedToken]struct{} // guarded by mu
}

type revokedUser struct {
	tenant string
	user   uuid.UUID
}

type revokedToken struct{ tenant, id string }

// NewRevocations refuses nothing. lifetime is how long the longest token lives;
// 0: TokenLifetime.
func NewRevocations(lifetime time.Duration) *Revocations {
	if lifetime == 0 {
		lifetime = TokenLifetime
	}
	return &Revocations{lives: newLifetimes(), lifetime: lifetime, now: time.Now, barred: map[revokedUser]struct{}{}, users: map[revokedUser]time.Time{}, tokens: map[revokedToken]struct{}{}}
}

// Refused reports whether a caller is refused: its token was revoked by its id, or
// was issued at or before the user's mark; or the user is suspended or deleted.
// A token that does not say when it was issued was issued before. Where Hasura
// speaks for a caller whose token it did not pass on, the user is refused until
// every token from before its mark has expired. Who holds the admin secret never is.
func (r *Revocations) Refused(id Identity) bool {
	if id.Via != ViaJWT && id.Via != ViaHasura {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, ok := r.tokens[revokedToken{id.Tenant, id.TokenID}]; ok && id.TokenID != "" {
		return true
	}
	user := id.UserID
	if user == uuid.Nil { // a role that is no user's: the claim still names whose token it is
		user, _ = uuid.Parse(id.Vars[headerUser])
	}
	if _, ok := r.barred[revokedUser{id.Tenant, user}]; ok {
		return true
	}
	before, ok := r.users[revokedUser{id.Tenant, user}]
	if id.Via == ViaHasura && !id.Bearer {
		return ok && r.now().Before(before.Add(r.lifetime))
	}
	return ok && (id.IssuedAt.IsZero() || !id.IssuedAt.After(before))
}

// Store keeps revocations in the database.
type Store struct{ DB postgres.DB }

// maxTokenID bounds what becomes part of an index.
const maxTokenID = 1024

// Revoke refuses a user's tokens issued until now by the database's clock, or
// the one token named (its jti, up to 1,024 bytes). Tokens tell whole seconds
// as a rule: one issued in this very second is refused with the rest.
func (s Store) Revoke(ctx context.Context, tenant string, user uuid.UUID, tokenID *string) error {
	const all = `
insert into realtime.revoked_users as r (tenant, user_id, not_before)
values ($1, $2, clock_timestamp())
on conflict (tenant, user_id) do update set not_before = greatest(r.not_before, excluded.not_before)`
	const one = `
insert into realtime.revoked_tokens (tenant, user_id, token_id) values ($1, $2, $3)
on conflict (tenant, token_id) do nothing`
	if user == uuid.Nil {
		return fault.Field("userId", "userId names nobody")
	}
	if tokenID != nil && (*tokenID == "" || len(*tokenID) > maxTokenID || strings.ContainsRune(*tokenID, 0) || !utf8.ValidString(*tokenID)) {
		return fault.Field("tokenId", "tokenId must be a text of 1 to %d bytes", maxTokenID)
	}
	var err error
	if tokenID == nil {
		_, err = s.DB.Exec(ctx, all, tenant, user)
	} else {
		_, err = s.DB.Exec(ctx, one, tenant, user, *tokenID)
	}
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	return nil
}

// Load replaces what r refuses by what the database says. If that cannot be
// read, r refuses what it did.
func (s Store) Load(ctx context.Context, r *Revocations) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	users, tokens, barred := map[revokedUser]time.Time{}, map[revokedToken]struct{}{}, map[revokedUser]struct{}{}
	rows, err := s.DB.Query(ctx, `select tenant, user_id, not_before from realtime.revoked_users`)
	if err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	var u revokedUser
	var before time.Time
	if _, err := pgx.ForEachRow(rows, []any{&u.tenant, &u.user, &before}, func() error { users[u] = before; return nil }); err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	rows, err = s.DB.Query(ctx, `select tenant, token_id from realtime.revoked_tokens`)
	if err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	var t revokedToken
	if _, err := pgx.ForEachRow(rows, []any{&t.tenant, &t.id}, func() error { tokens[t] = struct{}{}; return nil }); err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	rows, err = s.DB.Query(ctx, `select tenant, user_id from realtime.barred_users where at > clock_timestamp() - $1::interval`, r.lifetime)
	if err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	if _, err := pgx.ForEachRow(rows, []any{&u.tenant, &u.user}, func() error { barred[u] = struct{}{}; return nil }); err != nil {
		return fmt.Errorf("reading revocations: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users, r.tokens, r.barred = users, tokens, barred
	return nil
}

// Stamp changes whenever Load would read something else. The sums are for what is
// committed in another order than its times: it moves neither a count nor the newest.
// They are of the times as Load reads them: nothing can be added to infinity.
func (s Store) Stamp(ctx context.Context) (string, error) {
	var stamp string
	if err := s.DB.QueryRow(ctx, stampQuery).Scan(&stamp); err != nil {
		return "", fmt.Errorf("reading revocations: %w", err)
	}
	return stamp, nil
}

var stampQuery = `select concat_ws('/', ` + strings.Join([]string{
	stampOf("revoked_users", "not_before"), stampOf("revoked_tokens", "revoked_at"), stampOf("barred_users", "at"),
}, ", ") + `)`

// stampOf reads every row, each second: a sum of bigint costs less than one of numeric.
func stampOf(table, at string) string {
	return fmt.Sprintf(`
(select concat_ws(' ', count(*), max(%[2]s),
        sum((date_part('epoch', least(greatest(%[2]s, timestamptz '0001-01-01Z'), timestamptz '9999-12-31Z')) * 1e6)::bigint))
   from realtime.%[1]s)`, table, at)
}
