package auth

import (
	"maps"
	"slices"
	"strings"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

func badClaims(text string, args ...any) error { return fault.New(fault.InvalidClaims, text, args...) }

// kindOf names a JSON value's type as Hasura's messages do.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "Null"
	case bool:
		return "Boolean"
	case string:
		return "String"
	case []any:
		return "Array"
	case map[string]any:
		return "Object"
	}
	return "Number"
}

// sessionOf is the session variables of a token for the role asked for ("":
// the default). Only claims count, whatever headers say.
func (a *Authenticator) sessionOf(t token, asked string) (map[string]string, error) {
	raw, err := a.jwt.hasuraClaims(t.claims)
	if err != nil {
		return nil, err
	}
	list, ok := raw[allowedRoles]
	if !ok {
		return nil, missing(allowedRoles)
	}
	roles, err := roleList(list)
	if err != nil {
		return nil, err
	}
	def, ok := raw[defaultRole]
	if !ok {
		return nil, missing(defaultRole)
	}
	role, ok := def.(string)
	if !ok {
		return nil, badClaims("invalid %s; should be a single role name: parsing Text failed, expected String, but encountered %s", defaultRole, kindOf(def))
	}
	if asked != "" {
		role = asked
	}
	if role == "" || !slices.Contains(roles, role) {
		return nil, fault.New(fault.Denied, "Your requested role is not in allowed roles")
	}
	vars := make(map[string]string, len(raw))
	for name, v := range raw {
		if name == allowedRoles || name == defaultRole {
			continue
		}
		if vars[name], ok = v.(string); !ok {
			return nil, badClaims("x-hasura-* claims: parsing Text failed, expected String, but encountered %s", kindOf(v))
		}
	}
	vars[headerRole] = role
	return vars, nil
}

func missing(claim string) error {
	return fault.New(fault.MissingRoleClaims, "JWT claim does not contain %s", claim)
}

func roleList(v any) ([]string, error) {
	const text = "invalid " + allowedRoles + "; should be a list of roles: parsing %s failed, expected %s, but encountered %s"
	list, ok := v.([]any)
	if !ok {
		return nil, badClaims(text, "[]", "Array", kindOf(v))
	}
	roles := make([]string, len(list))
	for i, r := range list {
		if roles[i], ok = r.(string); !ok {
			return nil, badClaims(text, "Text", "String", kindOf(r))
		}
	}
	return roles, nil
}

// hasuraClaims finds the x-hasura-* claims, with lower-case names.
func (c *JWTConfig) hasuraClaims(claims map[string]any) (map[string]any, error) {
	if c.claims != nil {
		return c.mapped(claims)
	}
	obj, err := c.in(claims)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(obj))
	for name, v := range obj {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, varPrefix) {
			continue
		}
		if _, twice := out[lower]; twice {
			return nil, badClaims("%s is given twice", lower)
		}
		out[lower] = v
	}
	return out, nil
}

// in is the object that claims_namespace or claims_namespace_path names.
func (c *JWTConfig) in(claims map[string]any) (map[string]any, error) {
	var found any
	var ok bool
	if c.nsPath != nil {
		if found, ok = c.nsPath.find(claims); !ok {
			return nil, badClaims("claims not found at claims_namespace_path: '%s'", c.nsPath)
		}
	} else if found, ok = claims[c.namespace]; !ok {
		return nil, badClaims("claims key: '%s' not found", c.namespace)
	}
	if !c.stringly {
		if obj, ok := found.(map[string]any); ok {
			return obj, nil
		}
		return nil, badClaims("expecting a json object when claims_format is json")
	}
	s, ok := found.(string)
	if !ok {
		return nil, badClaims("expecting a string when claims_format is stringified_json")
	}
	obj, err := decodeObject([]byte(s))
	if err != nil { // Hasura quotes what it found; a claim's value stays here
		if c.nsPath != nil {
			return nil, badClaims("expecting stringified json at: 'claims_namespace_path %s'", c.nsPath)
		}
		return nil, badClaims("expecting stringified json at: 'claims_namespace %s'", c.namespace)
	}
	return obj, nil
}

// mapped builds the claims that claims_map says.
func (c *JWTConfig) mapped(claims map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(c.claims))
	for _, name := range slices.Sorted(maps.Keys(c.claims)) {
		src := c.claims[name]
		if src.path == nil {
			out[name] = src.literal
			continue
		}
		v, ok := src.path.find(claims)
		switch {
		case ok:
			out[name] = v
		case src.hasDef:
			out[name] = src.def
		case name == allowedRoles || name == defaultRole:
			return nil, missing(name)
		default:
			return nil, badClaims("JWT claim from claims_map, %s not found", name)
		}
	}
	return out, nil
}
