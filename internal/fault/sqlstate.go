package fault

import "strings"

// The SQLSTATEs by which a database says that a value is wrong (PostgreSQL manual,
// appendix A), apart from class 22.
const (
	notNull    = "23502"
	check      = "23514"
	exclusion  = "23P01"
	tooLarge   = "54000"
	tooComplex = "54001" // nested deeper than the server's stack
)

// classes are those of Postgres' own SQLSTATEs. Any other is of a function's own raise.
const classes = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX"

// Refuses reports whether an SQLSTATE says that the database took a value for
// wrong: class 22, or what a constraint or an app's own trigger does not let in,
// which may raise with a code of its own. constraint: the latter. Keys are not
// among them: a race can break those, and passes.
func Refuses(state string) (constraint, refused bool) {
	if len(state) != 5 {
		return false, false
	}
	switch class := state[:2]; {
	case class == "22", state == tooLarge, state == tooComplex:
		return false, true
	case state == notNull, state == check, state == exclusion:
		return true, true
	case strings.Contains(" 09 27 38 39 44 P0 ", " "+class+" "): // a trigger's, a function's, a view's; raised
		return true, true
	case !strings.Contains(" "+classes+" ", " "+class+" "):
		return true, true
	}
	return false, false
}
