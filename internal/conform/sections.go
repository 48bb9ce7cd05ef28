package conform

import (
	"maps"
	"slices"
)

// sections are all there is, in the order of the report.
func sections() []section {
	return []section{
		{checks: contract()}, {checks: openings()}, {checks: bads()}, {checks: operations()}, {checks: together()}, {checks: older()},
		{checks: web()}, {checks: strangers()}, {checks: statuses()}, {checks: choosing()}, {checks: members()}, {checks: choices()},
		{checks: sessions()}, {checks: typing()}, {checks: messages()}, {checks: reading()}, {checks: acknowledgements()}, {checks: consents()},
		{checks: syncing()}, {checks: telling()}, {checks: separate()}, {checks: apart()}, shown(), invisible(),
	}
}

func contract() (all []check) {
	for _, of := range []struct {
		kind   string
		fields map[string]field
	}{{"query", queries}, {"mutation", mutations}, {"subscription", subscriptions}} {
		for _, name := range slices.Sorted(maps.Keys(of.fields)) {
			all = append(all, exists(of.kind, name, of.fields[name]))
		}
	}
	return all
}
