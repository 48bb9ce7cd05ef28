// Package web serves the demo's page to whoever runs `dev`: the files built from
// web/demo where they were built in (tag demo), else a few lines that say how to
// get them. `serve` has no part in it.
package web

import (
	_ "embed"
	"encoding/json"
	"io/fs"
	"net/http"
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

// Handler serves the page at / and under /assets/, and the demo under /demo/.
func (d Demo) Handler() http.Handler {
	mux := http.NewServeMux()
	if page := files(); page != nil {
		content := http.FileServerFS(page)
		mux.Handle("GET /assets/", keep("public, max-age=31536000, immutable", content)) // named by what they hold
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

func keep(how string, next http.Handler) http.Handler {
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
