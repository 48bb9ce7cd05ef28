// Command attack has one ordinary user do its worst to a whole server, one attack
// after another, and says what fifty others on it noticed: who was seen offline
// that never went, what errors they got, how long their answers and messages took
// beside a quiet time of the same run, and what memory the server took. It decides
// nothing by time: only who went offline, errors and memory make it fail.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

// settings are how it is done.
type settings struct {
	program string // the server, or a command that runs it
	people  int
	quiet   time.Duration
	attack  time.Duration
	rounds  int
	pace    time.Duration
	only    []string
}

func main() {
	var s settings
	flag.StringVar(&s.program, "server", "bin/nchat-realtime", "the server, or a command that runs it")
	flag.IntVar(&s.people, "people", 50, "bystanders")
	flag.DurationVar(&s.quiet, "quiet", 8*time.Second, "how long they are measured alone")
	flag.DurationVar(&s.attack, "for", 12*time.Second, "how long they are measured under each attack")
	flag.IntVar(&s.rounds, "rounds", 1, "how often each attack is made; of times the median counts, of all else the worst")
	flag.DurationVar(&s.pace, "pace", time.Second, "how often each bystander does something")
	only := flag.String("only", "", "attacks by name, with commas between")
	as := flag.Bool("as-attacker", false, "be an attacker (what this program starts itself with)")
	flag.Parse()
	if *only != "" {
		s.only = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *as {
		err = beAttacker(ctx)
	} else {
		err = run(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1) //nolint:gocritic // nothing deferred matters any more
	}
}

// chosen are the attacks to be made.
func (s settings) chosen() ([]attack, error) {
	if len(s.only) == 0 {
		return attacks(), nil
	}
	var list []attack
	for _, name := range s.only {
		a := find(name)
		if a == nil {
			return nil, fmt.Errorf("there is no attack %q", name)
		}
		list = append(list, *a)
	}
	return list, nil
}

func run(ctx context.Context, s settings) error {
	url := os.Getenv("TEST_DATABASE_URL")
	if url == "" {
		return fmt.Errorf("TEST_DATABASE_URL is not set: run make attack")
	}
	list, err := s.chosen()
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d CPUs for attacker and bystanders, %s/%s; %d bystanders, each does something every %s; quiet %s, attacked %s, rounds %d\n\n",
		runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, s.people, s.pace, s.quiet, s.attack, s.rounds)
	fmt.Print(heading)
	var bad []string
	for _, a := range list {
		var all []outcome
		for range s.rounds {
			o, err := once(ctx, s, url, a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			all = append(all, o)
		}
		o := together(all)
		fmt.Println(o.row(a))
		if why := o.verdict(); why != "" {
			bad = append(bad, a.name+": "+why)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("others were hurt:\n%s", strings.Join(bad, "\n"))
	}
	return nil
}

// once is one attack on a fresh server, in a world of its own.
func once(ctx context.Context, s settings, url string, a attack) (o outcome, err error) {
	w, drop, err := build(ctx, url, s.program, s.people, 1, hoarded)
	if err != nil {
		return o, err
	}
	defer drop()
	srv, err := start(ctx, s.program, w.db)
	if err != nil {
		return o, err
	}
	defer srv.stop()
	k, err := gather(ctx, w, srv.base, s.pace)
	if err != nil {
		return o, err
	}
	defer k.close()
	during := func(d time.Duration) figures {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return k.live(ctx, 0)
	}
	during(2 * time.Second) // caches are filled
	o.quiet = during(s.quiet)
	o.rest, _ = srv.resident()
	srv.reset()
	foe, err := launch(ctx, w.target(0, a.name, srv.base))
	if err != nil {
		return o, err
	}
	o.attacked = during(s.attack)
	if o.got, err = foe.end(); err != nil {
		return o, err
	}
	o.after = during(3 * time.Second)
	_, o.most = srv.resident()
	if said := srv.heard(); said != "" {
		fmt.Fprintf(os.Stderr, "%s: the server says: %s\n", a.name, said)
	}
	return o, ctx.Err()
}

// target is what the i-th attacker knows.
func (w *world) target(i int, name, base string) target {
	t := target{Attack: name, Base: base, User: w.foes[i].String(), General: w.general.String(), Room: w.rooms[0].String(), Own: w.theirs[i], Address: i + 1, Dose: 1}
	for _, p := range w.people {
		t.People = append(t.People, p.String())
	}
	return t
}

// attacker is a process of its own, that yields to the bystanders: what it takes of
// a processor is not the server's.
type attacker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func launch(ctx context.Context, t target) (*attacker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for this program: %w", err)
	}
	a := &attacker{cmd: exec.CommandContext(ctx, "nice", "-n", "10", self, "-as-attacker")} //nolint:gosec // ourselves
	a.cmd.Stderr = os.Stderr
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting the attacker: %w", err)
	}
	if a.out, err = a.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("starting the attacker: %w", err)
	}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the attacker: %w", err)
	}
	if err := json.NewEncoder(a.in).Encode(t); err != nil {
		return nil, fmt.Errorf("telling the attacker: %w", err)
	}
	return a, nil
}

// end ends the attack, and answers what the attacker got.
func (a *attacker) end() (got map[string]int, err error) {
	_ = a.in.Close()
	if err = json.NewDecoder(a.out).Decode(&got); err != nil {
		err = fmt.Errorf("hearing from the attacker: %w", err)
	}
	if werr := a.cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("the attacker: %w", werr)
	}
	return got, err
}

// beAttacker attacks what stands in the first line of its input, until that ends.
func beAttacker(ctx context.Context) error {
	in := json.NewDecoder(os.Stdin)
	var t target
	if err := in.Decode(&t); err != nil {
		return fmt.Errorf("reading what to attack: %w", err)
	}
	f, err := newFoe(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	got, err := f.run(ctx)
	if err != nil {
		return err
	}
	<-ctx.Done() // who has done all waits to be asked
	if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}
