// Package fault holds the one error type that may reach a client.
//
// A fault carries a code the client may branch on, a sentence a person may
// read, and whether (and when) trying again can help. Any other error is a bug
// or an outage: callers wrap it with %w, it is logged once at the edge, and the
// client is told only "internal error". The package imports nothing of ours.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code is part of the public contract: it appears as extensions.code, in
// Hasura's words where Hasura has one.
type Code string

// The codes of the contract. The last group is auth's, with Hasura's own names.
const (
	Denied      Code = "access-denied"        // not allowed, or does not exist: the two are never told apart
	Invalid     Code = "validation-failed"    // the input is wrong; the message names the field or the limit
	Constraint  Code = "constraint-violation" // the database refused the value
	Conflict    Code = "conflict"             // the key was used before with other content
	Reset       Code = "stream-reset"         // a stream cannot go on from where it was: fetch anew, and subscribe again
	RateLimited Code = "rate-limited"         // too many; retryAfterMs says when
	Unexpected  Code = "unexpected"           // ours, not the caller's
	Unsupported Code = "not-supported"        // understood, and not offered here
	Upstream    Code = "upstream-unavailable" // Hasura, behind the one endpoint, is away or went away
	Unknown     Code = "outcome-unknown"      // Hasura went away after it was handed a mutation: look before it is sent again

	InvalidJWT        Code = "invalid-jwt"             // the token is not one, has ended, or is revoked: get another
	InvalidHeaders    Code = "invalid-headers"         // what says who asks is missing, malformed or given twice
	MissingRoleClaims Code = "jwt-missing-role-claims" // the token names no roles
	InvalidClaims     Code = "jwt-invalid-claims"      // what the token says of its bearer is not as it should be
)

// Error is safe to show to a client in full: no ids of others, no SQL, no host.
type Error struct {
	Code       Code
	Message    string
	Field      string        // input path; empty when the whole request is meant
	Index      *int          // which item of a list in Field; nil: no single one
	Retryable  bool          // the same request may succeed later
	RetryAfter time.Duration // when, if known; zero means "with back-off"
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// New returns a fault that trying again will not mend.
func New(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Field returns an Invalid fault about one input field.
func Field(path, format string, args ...any) *Error {
	return &Error{Code: Invalid, Message: fmt.Sprintf(format, args...), Field: path}
}

// Later returns a fault that trying again after d may mend.
func Later(c Code, d time.Duration, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...), Retryable: true, RetryAfter: d}
}

// Access is the one answer for "not yours" and "does not exist".
func Access() *Error { return New(Denied, "access denied") }

// From finds the fault in err's chain. Anything else becomes Unexpected and
// retryable: an outage passes, and a bug is not made worse by a second try.
func From(err error) *Error {
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}
	return &Error{Code: Unexpected, Message: "internal error", Retryable: true}
}

// Extensions is the fault as GraphQL's errors[].extensions.
func (e *Error) Extensions() map[string]any {
	x := map[string]any{"code": string(e.Code), "retryable": e.Retryable}
	if e.RetryAfter > 0 {
		x["retryAfterMs"] = e.RetryAfter.Milliseconds()
	}
	if e.Field != "" {
		x["field"] = e.Field
	}
	if e.Index != nil {
		x["index"] = *e.Index
	}
	return x
}
