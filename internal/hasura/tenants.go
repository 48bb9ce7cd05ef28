package hasura

import (
	"fmt"
	"slices"
	"strings"
)

// tenantVar is the session variable that says whose tenant's a caller is. A token
// need not say it, and Hasura refuses whoever lacks what a permission asks for: so
// what we ship names the tenant of those who say none.
const tenantVar = "X-Hasura-Source-Account-Id"

// OneTenant are the permissions to read nchat's rows that name a tenant: they show
// its rows to whoever asks, of whatever tenant. tenants are those that are named.
func (a Access) OneTenant(t Tree) (found []Finding, tenants []string) {
	a.each(t, func(where string, p perm) {
		if p.op != "select" || !strings.HasPrefix(p.name, "nchat_") && !isView(p.table) {
			return
		}
		named := slices.DeleteFunc(tenantsIn(p.body["filter"]), isVariable)
		if len(named) == 0 {
			return
		}
		slices.Sort(named)
		which := strings.Join(slices.Compact(named), ", ")
		found = append(found, Finding{where, "it shows the rows of tenant " + which + " to users of all tenants",
			fmt.Sprintf("put %s in the place of %s, and have every token say it", tenantVar, which)})
		tenants = append(tenants, named...)
	})
	return found, tenants
}

// bySession reports whether permissions to read ask which tenant's a caller is.
func (a Access) bySession(t Tree) (yes bool) {
	a.each(t, func(_ string, p perm) {
		yes = yes || p.op == "select" && slices.ContainsFunc(tenantsIn(p.body["filter"]), func(s string) bool { return strings.EqualFold(s, tenantVar) })
	})
	return yes
}

// tenantsIn are the values to which a condition holds the tenant, here or at the
// other end of a relationship.
func tenantsIn(cond any) (out []string) {
	for _, part := range branches(cond) {
		out = append(out, tenantsIn(part)...)
	}
	c, _ := cond.(Tree)
	for key, x := range c {
		if key != "source_account_id" && key != "tenant" {
			out = append(out, tenantsIn(x)...)
			continue
		}
		is, _ := x.(Tree)
		values := append([]any{equals(x)}, slices.Concat(branches(is["_in"]), branches(is["$in"]))...)
		for _, v := range values {
			if s, ok := v.(string); ok && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

func isVariable(s string) bool { return strings.HasPrefix(strings.ToLower(s), "x-hasura-") }

// ask has a condition of ours ask for the caller's tenant where it names one.
func ask(cond any) {
	for _, part := range branches(cond) {
		ask(part)
	}
	c, _ := cond.(Tree)
	for key, x := range c {
		if is, ok := x.(Tree); ok && (key == "source_account_id" || key == "tenant") {
			is["_eq"] = tenantVar
			continue
		}
		ask(x)
	}
}
