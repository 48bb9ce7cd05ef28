package hasura

import (
	"fmt"
	"slices"
	"strings"
)

// typeMark begins the description of each custom type of ours. Nothing else would tell
// one that apply wrote from one of the app's own by its name.
const typeMark = Name + ": "

func isOurType(x Tree) bool { return strings.HasPrefix(text(x, "description"), typeMark) }

// typeLists are the lists of custom types: names are unique over all of them.
var typeLists = []struct{ key, what string }{
	{"objects", "type"}, {"input_objects", "input type"}, {"enums", "enum"}, {"scalars", "scalar"},
}

// customTypes puts in the types that our actions answer. One of theirs by such a
// name is never made ours; the error names those that an action of ours would answer.
func (m *merger) customTypes(merged, ours Tree) error {
	types, _ := merged["custom_types"].(Tree)
	if types == nil {
		types = Tree{}
	}
	merged["custom_types"] = types
	answered := answers(merged)
	var wrong []string
	for _, o := range list(ours["custom_types"].(Tree), "objects") {
		other := foreign(types, o)
		switch action, used := answered[text(o, "name")]; {
		case other == "":
			if !served(types, o) {
				m.put(types, "objects", o, "type", isOurType)
			}
		case used:
			wrong = append(wrong, fmt.Sprintf("! %s is none that apply wrote, and not what action %s answers; to mend: rename yours, or, where an older version put it there, take all out by --remove and delete it in Hasura", other, action))
		default:
			m.kept = append(m.kept, other+" is another one: left as it is")
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("Hasura has custom types of names that this server's have:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// answers are the types that actions of ours answer, each with one of these.
func answers(in Tree) map[string]string {
	types := map[string]string{}
	for _, a := range list(in, "actions") {
		if isOurAction(a) {
			types[strings.Trim(text(a, "definition", "output_type"), "[]!")] = text(a, "name")
		}
	}
	return types
}

// foreign is what has the name of a type of ours, was not written by apply, and
// cannot stand for it; "": nothing.
func foreign(types, ours Tree) string {
	for _, l := range typeLists {
		for _, x := range list(types, l.key) {
			if text(x, "name") == text(ours, "name") && !isOurType(x) && (l.key != "objects" || !covers(x["fields"], ours["fields"], "")) {
				return l.what + " " + text(ours, "name")
			}
		}
	}
	return ""
}

// served reports whether a type that apply did not write is what ours would be: it
// is left as it is, also when everything of ours is taken out.
func served(types, ours Tree) bool {
	return slices.ContainsFunc(list(types, "objects"), func(x Tree) bool {
		return text(x, "name") == text(ours, "name") && !isOurType(x)
	})
}
