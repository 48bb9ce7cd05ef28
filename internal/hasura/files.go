package hasura

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/nself-org/nchat-realtime/hasura"
)

// Project is the one this server ships, in hasura/.
func Project() (Metadata, error) { return Read(hasura.Project) }

// Read reads a project of Hasura's CLI. A key that we do not know is an error:
// of a misspelt one Hasura's own CLI says nothing.
func Read(fsys fs.FS) (m Metadata, err error) {
	for file, into := range map[string]any{
		"version.yaml": &struct {
			Version *int `json:"version"`
		}{&m.Version},
		"databases/databases.yaml": &m.Sources,
		"remote_schemas.yaml":      &m.RemoteSchemas,
		"cron_triggers.yaml":       &m.CronTriggers,
		"actions.yaml": &struct {
			Actions     *[]Action    `json:"actions"`
			CustomTypes *CustomTypes `json:"custom_types"`
		}{&m.Actions, &m.CustomTypes},
	} {
		if err := decode(fsys, path.Join("metadata", file), into); err != nil {
			return m, err
		}
	}
	sdl, err := fs.ReadFile(fsys, "metadata/actions.graphql")
	if err != nil {
		return m, fmt.Errorf("reading the actions' types: %w", err)
	}
	return m, m.declare(string(sdl))
}

func decode(fsys fs.FS, file string, into any) error {
	tree, err := load(fsys, file)
	if err != nil {
		return err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// load reads a file and what it includes.
func load(fsys fs.FS, file string) (any, error) {
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return include(fsys, path.Dir(file), tree)
}

func include(fsys fs.FS, dir string, tree any) (any, error) {
	var err error
	switch x := tree.(type) {
	case string:
		if name, ok := strings.CutPrefix(x, "!include "); ok {
			return load(fsys, path.Join(dir, name))
		}
	case []any:
		for i := range x {
			if x[i], err = include(fsys, dir, x[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range x {
			if x[k], err = include(fsys, dir, x[k]); err != nil {
				return nil, err
			}
		}
	}
	return tree, nil
}

// declare takes from actions.graphql what actions take and give, as the CLI does.
func (m *Metadata) declare(sdl string) error {
	doc, err := parser.ParseSchema(&ast.Source{Name: "actions.graphql", Input: sdl})
	if err != nil {
		return fmt.Errorf("reading the actions' types: %w", err)
	}
	fields := map[string]*ast.FieldDefinition{}
	kinds := map[string]string{}
	objects := map[string]*ast.Definition{}
	for _, d := range doc.Definitions {
		switch d.Name {
		case "Query", "Mutation":
			for _, f := range d.Fields {
				fields[f.Name], kinds[f.Name] = f, strings.ToLower(d.Name)
			}
		default:
			objects[d.Name] = d
		}
	}
	for i := range m.Actions {
		a := &m.Actions[i]
		f, ok := fields[a.Name]
		if !ok {
			return fmt.Errorf("action %s is not in actions.graphql", a.Name)
		}
		delete(fields, a.Name)
		a.Definition.Type, a.Definition.OutputType, a.Comment = kinds[a.Name], f.Type.String(), f.Description
		a.Definition.Arguments = []Argument{}
		for _, arg := range f.Arguments {
			a.Definition.Arguments = append(a.Definition.Arguments, Argument{arg.Name, arg.Type.String(), arg.Description})
		}
	}
	for i := range m.CustomTypes.Objects {
		o := &m.CustomTypes.Objects[i]
		d, ok := objects[o.Name]
		if !ok {
			return fmt.Errorf("type %s is not in actions.graphql", o.Name)
		}
		delete(objects, o.Name)
		if o.Description = d.Description; !strings.HasPrefix(o.Description, typeMark) {
			return fmt.Errorf("the description of type %s does not begin with %q, by which apply would know it", o.Name, typeMark)
		}
		for _, f := range d.Fields {
			o.Fields = append(o.Fields, Argument{f.Name, f.Type.String(), f.Description})
		}
	}
	for name := range fields {
		return fmt.Errorf("field %s is not in actions.yaml", name)
	}
	for name := range objects {
		return fmt.Errorf("type %s is not in actions.yaml", name)
	}
	return nil
}
