package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	webClient = "../../web/client"
	held      = 500 // messages of a channel that a page holds
)

// pages are clients in TypeScript, web/client's own, in one process of Node.
type pages struct {
	r       *rig
	without string // why there are none
	list    []*page
	done    chan struct{} // closed when the process has ended
	counts  chan int      // countings that were answered

	writing sync.Mutex
	in      io.Writer // guarded by writing

	mu      sync.Mutex
	sockets map[int]*pageSocket // guarded by mu, as are the rest, and what is of each page
	ends    map[string]int      // of sockets, by close code
	asked   int
	ending  bool
}

// pageSocket is a page's socket, to one process of a server.
type pageSocket struct {
	of    *count
	read  int64
	there bool
}

// newPages makes those that there are to be, or says why there are none.
func (r *rig) newPages(seed uint64) *pages {
	p := &pages{r: r, sockets: map[int]*pageSocket{}, ends: map[string]int{}, done: make(chan struct{}), counts: make(chan int, 8)}
	if p.without = withoutPages(); p.without != "" {
		return p
	}
	for i := range r.size.pages {
		x := r.newPage(i, seed)
		x.token = mint(r.t, x.user, 48*time.Hour)
		p.list = append(p.list, x)
		r.h.Clients = append(r.h.Clients, x.told)
	}
	return p
}

// withoutPages is why there can be no clients in TypeScript; where the packages are
// missing in CI something is wrong, and bundling says so.
func withoutPages() string {
	version, err := exec.Command("node", "-p", "parseInt(process.versions.node)").Output()
	if major, _ := strconv.Atoi(strings.TrimSpace(string(version))); err != nil || major < 20 {
		return "no clients in TypeScript: node is not installed, or older than 20"
	}
	if _, err := os.Stat(webClient + "/node_modules/.bin/esbuild"); err != nil && os.Getenv("CI") == "" {
		return "no clients in TypeScript: the packages of web/client are not installed (.ci/setup does it)"
	}
	return ""
}

// bundled is the script with the client's sources and what they need in one file: dist
// may be another test's to build just now.
var bundled = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir(), "pages.cjs")
	cmd := exec.Command("node_modules/.bin/esbuild", "test/rig/client.ts", "--bundle", "--platform=node", "--target=node20", "--format=cjs", "--log-level=warning", "--outfile="+path)
	cmd.Dir = webClient
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("web/client is not bundled: %w: %s", err, out)
	}
	return path, nil
})

// start has the process there; pages are opened by open.
func (p *pages) start() {
	if len(p.list) == 0 {
		return
	}
	path, err := bundled()
	if err != nil {
		p.r.t.Error(err)
		return
	}
	cmd := exec.Command("node", "--no-warnings", path)
	cmd.Env = append(os.Environ(), "NODE_OPTIONS=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if inErr != nil || outErr != nil {
		p.r.t.Error(inErr, outErr)
		return
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	begun := make(chan error, 1)
	go func() { // as in node.start
		err := cmd.Start()
		begun <- err
		if err != nil {
			close(p.done)
			return
		}
		p.follow(out)
		err = cmd.Wait()
		p.mu.Lock()
		ending := p.ending
		p.mu.Unlock()
		if said.Len() > 0 || !ending { // a console that speaks is a fault, too
			p.r.odd(fmt.Sprintf("the clients in TypeScript ended: %v: %.2000s", err, said.Bytes()))
		}
		close(p.done)
	}()
	if err := <-begun; err != nil {
		p.r.t.Error(err)
		return
	}
	p.in = in
	p.r.t.Cleanup(func() {
		p.mu.Lock()
		p.ending = true
		p.mu.Unlock()
		_ = cmd.Process.Kill()
		<-p.done
		if said.Len() > 0 {
			p.r.t.Errorf("the clients in TypeScript said: %.2000s", said.Bytes())
		}
	})
}

// open has all pages connect.
func (p *pages) open() {
	if len(p.list) == 0 {
		return
	}
	var urls []string
	for _, n := range p.r.nodes {
		urls = append(urls, "http://"+n.link.addr()+"/graphql")
	}
	var who []map[string]string
	for _, x := range p.list {
		who = append(who, map[string]string{"user": x.user, "token": x.token})
	}
	p.do(map[string]any{"do": "open", "urls": urls, "pages": who, "hold": held})
}

// do is one command. To a process that has ended it is in vain, which follow has said.
func (p *pages) do(command map[string]any) {
	text, err := json.Marshal(command)
	if err != nil {
		p.r.t.Error(err)
		return
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	_, _ = p.in.Write(append(text, '\n'))
}

func (p *pages) send(x *page, channel, key string) {
	p.mu.Lock()
	x.waits[key] = true
	p.mu.Unlock()
	p.do(map[string]any{"do": "send", "page": slices.Index(p.list, x), "channel": channel, "key": key})
}

// follow takes in what the process says, until it ends.
func (p *pages) follow(out io.Reader) {
	s := bufio.NewScanner(out)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			p.r.odd(fmt.Sprintf("in TypeScript: %v: %.300s", err, s.Bytes()))
			continue
		}
		p.heard(l)
	}
}

func (p *pages) heard(l line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s := p.sockets[l.Socket]; l.Kind {
	case "opened":
		p.sockets[l.Socket] = &pageSocket{of: p.r.nodes[l.Node].counts()}
	case "closed":
		s.has(l.Read)
		s.of.ended.Add(1)
		p.ends[strconv.FormatInt(l.Code, 10)]++
		delete(p.sockets, l.Socket)
	case "counts":
		for socket, read := range l.Reads {
			p.sockets[socket].has(read)
		}
		select {
		case p.counts <- l.N:
		default: // nobody waits any more
		}
	case "there":
		s.there = true
		fallthrough
	default:
		p.list[l.Page].heard(l)
	}
}

// has notes how many frames it has read by now.
func (s *pageSocket) has(read int64) {
	s.of.read.Add(read - s.read)
	s.read = read
}

// count asks how many frames each socket has read.
func (p *pages) count() {
	if len(p.list) == 0 {
		return
	}
	p.mu.Lock()
	p.asked++
	n := p.asked
	p.mu.Unlock()
	p.do(map[string]any{"do": "count", "n": n})
	late := time.NewTimer(answer)
	defer late.Stop()
	for {
		select {
		case got := <-p.counts:
			if got == n {
				return
			}
		case <-p.done:
			return
		case <-late.C:
			p.r.odd("in TypeScript: no answer")
			return
		}
	}
}

// on is how many are connected to a process of a server.
func (p *pages) on(c *count) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sockets {
		if s.of == c && s.there {
			n++
		}
	}
	return n
}

// sent reports whether all that was queued has its answer.
func (p *pages) sent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.list, func(x *page) bool { return len(x.waits) > 0 })
}

// all reports whether each knows all there is.
func (p *pages) all(rows []Row, last map[string]int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.list, func(x *page) bool { return !x.all(rows, last) })
}

// still has nothing more be told until what it returns is called.
func (p *pages) still() (on func()) {
	p.mu.Lock()
	for _, x := range p.list {
		x.last()
		for key := range x.waits {
			p.r.odd("in TypeScript: queued, and never answered: " + key)
		}
		clear(x.waits)
		x.told.Live = true
	}
	return p.mu.Unlock
}

// anew begins the counts of a dose.
func (p *pages) anew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = map[string]int{}
	for _, x := range p.list {
		x.taken = 0
	}
}

func (p *pages) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := 0
	for _, x := range p.list {
		taken += x.taken
	}
	return fmt.Sprintf("in TypeScript: %d pages, %d messages queued and acknowledged; sockets ended: %v", len(p.list), taken, p.ends)
}
