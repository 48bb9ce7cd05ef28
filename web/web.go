// Package web serves the demo's page and the playground to whoever runs `dev`: the
// files built from web/demo where they were built in (tag demo), else a playground
// of one small file, and a few lines that say how to get the page. `serve` has no
// part in it.
package web

import (
	"cmp"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// User is one of the demo world.
type User struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Demo is what the page needs of the server: its users, and a token of each.
type Demo struct {
	Users []User
	// Token is one of a user of Users.
	Token func(User) (string, error)
}

// Built reports whether the page is part of this program.
func Built() bool { return files() != nil }

//go:embed missing.html
var missing []byte

// policy lets the page load what is its own and nothing else. React Aria writes
// one style of its own; a script from elsewhere, or within the page, is none.
const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"

// Handler serves the page at /, and the demo under /demo/. What the page is made of
// Playground serves.
func (d Demo) Handler() http.Handler {
	mux := http.NewServeMux()
	if page := files(); page != nil {
		content := http.FileServerFS(page)
		mux.Handle("GET /icon.svg", keep("no-cache", content))
		mux.Handle("GET /{$}", keep("no-cache", content))
	} else {
		mux.Handle("GET /{$}", keep("no-store", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(missing)
		})))
	}
	mux.Handle("GET /demo/users", keep("no-store", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.Users)
	})))
	mux.Handle("GET /demo/token", keep("no-store", http.HandlerFunc(d.token)))
	return mux
}

//go:embed playground.html
var playground []byte

// editors is policy for GraphiQL: its editor brings an icon font, and workers.
const editors = policy + "; worker-src 'self'; font-src 'self'"

// inline is policy for the small playground, whose script is within the page. It
// asks its own server alone.
const inline = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Playground serves GraphiQL at /playground, and what the pages are made of under
// /assets/; where they are not built in, a playground of one file.
func Playground() http.Handler {
	mux := http.NewServeMux()
	page := files()
	if page == nil {
		mux.Handle("GET /playground", keepBy(inline, "no-cache", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(playground)
		})))
		return mux
	}
	mux.Handle("GET /assets/{name}", keepBy(editors, "public, max-age=31536000, immutable", packed(page))) // named by what they hold
	mux.Handle("GET /playground", keepBy(editors, "no-cache", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, page, "playground.html")
	})))
	return mux
}

// packed serves assets, of which only the gzip is there; every browser takes it, and
// for what does not it is unpacked.
func packed(page fs.FS) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		f, err := page.Open("assets/" + name + ".gz")
		if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			http.NotFound(w, r)
			return
		}
		defer func() { _ = f.Close() }()
		h := w.Header()
		h.Set("Content-Type", cmp.Or(mime.TypeByExtension(path.Ext(name)), "application/octet-stream"))
		h.Set("Vary", "Accept-Encoding")
		var body io.Reader = f
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
		} else if body, err = gzip.NewReader(f); err != nil {
			h.Set("Cache-Control", "no-store")
			http.Error(w, "it is not packed as it should be", http.StatusInternalServerError)
			return
		}
		_, _ = io.Copy(w, body)
	})
}

func (d Demo) token(w http.ResponseWriter, r *http.Request) {
	for _, u := range d.Users {
		if !strings.EqualFold(u.Name, r.URL.Query().Get("user")) {
			continue
		}
		t, err := d.Token(u)
		if err != nil {
			http.Error(w, "no token can be made", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(t))
		return
	}
	http.Error(w, "not a user of the demo", http.StatusNotFound)
}

func keep(how string, next http.Handler) http.Handler { return keepBy(policy, how, next) }

func keepBy(policy, how string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", how)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// sub is a directory of an embedded tree; nil: it has no page.
func sub(tree fs.FS, dir string) fs.FS {
	page, err := fs.Sub(tree, dir)
	if err != nil {
		return nil
	}
	if _, err := fs.Stat(page, "index.html"); err != nil {
		return nil
	}
	return page
}
