package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestNobodyNotices: every attack, at a dose of a few operations and connections,
// on one whole server; nobody is seen offline who never went, no bystander gets an
// error, all of their messages come, and each attack gets somewhere.
func TestNobodyNotices(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("each attacker has an address of its own on the loopback network, which only Linux has by itself")
	}
	url := pgtest.Server(t)
	program := filepath.Join(t.TempDir(), "nchat-realtime")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "../../cmd/nchat-realtime").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list := attacks()
	w, drop, err := build(t.Context(), url, program, 6, len(list), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(drop)
	srv, err := start(context.Background(), program, w.db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.stop)
	k, err := gather(t.Context(), w, srv.base, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	for i, a := range list {
		to := w.target(i, a.name, srv.base)
		to.Turns, to.Dose = 2, 1.0/200
		f, err := newFoe(to)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan figures)
		go func() { over <- k.live(t.Context(), 3) }()
		got, err := f.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o := outcome{attacked: <-over}
		if o.offline() > 0 || len(o.wrong()) > 0 || len(o.attacked.answers) != 3*len(k.all) {
			t.Errorf("%s: %d seen offline, %d answers, errors %v; the server says: %s", a.name, o.offline(), len(o.attacked.answers), o.wrong(), srv.heard())
		}
		if len(got) == 0 && a.name != "streams" && a.name != "unread" {
			t.Errorf("%s: it gets no answer at all", a.name)
		}
	}
}

// TestBystandersNotice: what bystanders watch for is seen: one that goes offline,
// a message that does not come, an error.
func TestBystandersNotice(t *testing.T) {
	t.Parallel()
	quiet := figures{wrong: map[string]int{}, answers: make([]time.Duration, 1), deliveries: make([]time.Duration, 1)}
	fine := outcome{quiet: quiet, attacked: quiet, after: quiet}
	if why := fine.verdict(); why != "" {
		t.Errorf("nothing happened: %s", why)
	}
	for want, change := range map[string]func(o *outcome){
		"seen offline 2 times":       func(o *outcome) { o.after.offline = 2 },
		"errors: not delivered 3":    func(o *outcome) { o.attacked.wrong = map[string]int{"not delivered": 3} },
		"301 MB over rest":           func(o *outcome) { o.rest, o.most = 1<<20, 302<<20 },
		"nothing was measured":       func(o *outcome) { o.attacked.deliveries = nil },
		"errors: socket closed 1013": func(o *outcome) { o.after.wrong = map[string]int{"socket closed 1013": 1} },
	} {
		o := fine
		change(&o)
		if why := o.verdict(); !strings.HasPrefix(why, want) {
			t.Errorf("%q, and not %q", why, want)
		}
	}
	b := &bystander{k: &crowd{now: figures{wrong: map[string]int{}}, news: make(chan struct{}, 1)}, online: map[string]bool{}, others: []string{"u", "v"}, all: make(chan struct{})}
	for _, status := range []string{"offline", "online", "away", "offline"} {
		b.presence(fmt.Appendf(nil, `{"data":{"presenceChanged":{"userId":"u","status":%q}}}`, status))
	}
	if f := b.k.take(); f.offline != 1 {
		t.Errorf("seen offline %d times", f.offline)
	}
}

// TestTheTableHasEveryAttack: docs/security.md has a row for each attack, with its
// dose, and for no other.
func TestTheTableHasEveryAttack(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(text), strings.TrimSpace(heading)+"\n")
	if !ok {
		t.Fatal("docs/security.md has no table with the heading of ours")
	}
	part, _, _ = strings.Cut(part, "\n\n")
	var documented, there []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\| ([^|]*) \\|").FindAllStringSubmatch(part, -1) {
		documented = append(documented, m[1]+": "+m[2])
	}
	for _, a := range attacks() {
		there = append(there, a.name+": "+a.dose)
	}
	if !slices.Equal(documented, there) {
		t.Errorf("documented: %q\nthere are: %q", documented, there)
	}
}
