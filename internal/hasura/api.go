package hasura

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client asks a running Hasura, as its admin.
type Client struct {
	Endpoint    string // its base URL
	AdminSecret string
}

const (
	apiLimit   = time.Minute // replacing metadata introspects every remote schema
	apiBody    = 64 << 20
	applyTries = 5
)

// Refusal is what Hasura says when it will not.
type Refusal struct {
	Status int
	Code   string
	Text   string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("Hasura says %d %s: %s", r.Status, r.Code, r.Text)
}

// ask calls one endpoint. Errors: *Refusal where Hasura answers one.
func (c Client) ask(ctx context.Context, method, path string, header http.Header, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, apiLimit)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing a request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.Endpoint, "/")+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("asking Hasura: %w", err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{"X-Hasura-Admin-Secret": {c.AdminSecret}}
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking Hasura: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, apiBody))
	if err != nil {
		return fmt.Errorf("asking Hasura: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		r := &Refusal{Status: res.StatusCode, Text: string(bytes.TrimSpace(answer))}
		var said struct {
			Code, Error string
			Internal    json.RawMessage
		}
		if json.Unmarshal(answer, &said) == nil && said.Error != "" {
			r.Code, r.Text = said.Code, said.Error
			var wrong []Tree
			if json.Unmarshal(said.Internal, &wrong) == nil && len(wrong) > 0 && wrong[0]["reason"] != nil {
				r.Text = strings.Join(append([]string{r.Text}, reasons(wrong)...), "\n  ")
			}
		}
		return r
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("what answers at %s is no Hasura: %w", c.Endpoint, err)
	}
	return nil
}

// Export is its metadata and their version.
func (c Client) Export(ctx context.Context) (Tree, json.Number, error) {
	var out struct {
		ResourceVersion json.Number `json:"resource_version"`
		Metadata        Tree        `json:"metadata"`
	}
	err := c.ask(ctx, http.MethodPost, "/v1/metadata", nil, Tree{"type": "export_metadata", "version": 2, "args": Tree{}}, &out)
	return out.Metadata, out.ResourceVersion, err
}

// Inconsistent are the objects that do not work as they stand, a line each.
func (c Client) Inconsistent(ctx context.Context) ([]string, error) {
	var out struct {
		Objects []Tree `json:"inconsistent_objects"`
	}
	err := c.ask(ctx, http.MethodPost, "/v1/metadata", nil, Tree{"type": "get_inconsistent_metadata", "args": Tree{}}, &out)
	return reasons(out.Objects), err
}

// reasons are inconsistent objects in words.
func reasons(wrong []Tree) (lines []string) {
	for _, o := range wrong {
		lines = append(lines, fmt.Sprintf("%s %s: %s", text(o, "type"), text(o, "name"), text(o, "reason")))
	}
	return lines
}

// reload has Hasura introspect our remote schema again, if it has one: it
// remembers the schema by its definition, and would hold new permissions to the
// old schema. It counts as a change of the metadata. Whether the schema works
// now, replacing the metadata tells.
func (c Client) reload(ctx context.Context, now Tree) error {
	for _, rs := range list(now, "remote_schemas") {
		if text(rs, "name") != Name {
			continue
		}
		err := c.ask(ctx, http.MethodPost, "/v1/metadata", nil, Tree{"type": "reload_remote_schema", "args": Tree{"name": Name}}, &Tree{})
		if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
			return err
		}
	}
	return nil
}

// Apply changes its metadata by what change makes of them, all of it or
// nothing; and again, where somebody else changed them meanwhile. dry: nothing
// is changed. changes is what was done.
func (c Client) Apply(ctx context.Context, dry bool, change func(Tree) (Tree, []string, error)) (changes []string, err error) {
	for try := range applyTries {
		now, version, exportErr := c.Export(ctx)
		if exportErr != nil {
			return nil, exportErr
		}
		next, changes, err := change(now)
		if err != nil || dry || len(changes) == 0 {
			return changes, err
		}
		if try == 0 { // and read again: it is another version now
			if err := c.reload(ctx, now); err != nil {
				return nil, err
			}
			continue
		}
		err = c.ask(ctx, http.MethodPost, "/v1/metadata", nil, Tree{"type": "replace_metadata", "version": 2, "resource_version": version,
			"args": Tree{"allow_inconsistent_metadata": false, "metadata": next}}, &Tree{})
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != http.StatusConflict {
			return changes, err
		}
	}
	return nil, errors.New("somebody else goes on changing Hasura's metadata: try again")
}
