// Package hasura knows Hasura's metadata (version 3): it reads the project in
// hasura/, holds it against our schema by Hasura's own rules, merges it into the
// metadata of a running Hasura, and examines that.
//
// It never drops what it did not make. What it makes bears the name of the
// remote schema, nchat_realtime, or begins with it; a custom type's description
// does, and an action is called here.
package hasura

// Metadata is what the project holds, as Hasura's API takes it.
type Metadata struct {
	Version       int            `json:"version"`
	Sources       []Source       `json:"sources"`
	RemoteSchemas []RemoteSchema `json:"remote_schemas"`
	Actions       []Action       `json:"actions"`
	CustomTypes   CustomTypes    `json:"custom_types"`
	CronTriggers  []CronTrigger  `json:"cron_triggers"`
}

// Source is a database.
type Source struct {
	Name          string  `json:"name"`
	Kind          string  `json:"kind"`
	Tables        []Table `json:"tables"`
	Configuration any     `json:"configuration"`
}

// TableName is a table with its schema.
type TableName struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// Table is a tracked table.
type Table struct {
	Table               TableName            `json:"table"`
	ObjectRelationships []Relationship       `json:"object_relationships,omitempty"`
	ArrayRelationships  []Relationship       `json:"array_relationships,omitempty"`
	RemoteRelationships []RemoteRelationship `json:"remote_relationships,omitempty"`
	SelectPermissions   []SelectPermission   `json:"select_permissions,omitempty"`
	EventTriggers       []EventTrigger       `json:"event_triggers,omitempty"`
}

// Relationship is one between tables. Using is a column, a column of another
// table, or columns of both.
type Relationship struct {
	Name  string `json:"name"`
	Using struct {
		On     any     `json:"foreign_key_constraint_on,omitempty"`
		Manual *Manual `json:"manual_configuration,omitempty"`
	} `json:"using"`
}

// Manual says which columns of a table are which of another.
type Manual struct {
	RemoteTable   TableName         `json:"remote_table"`
	ColumnMapping map[string]string `json:"column_mapping"`
}

// RemoteRelationship joins a table's rows to a field of a remote schema.
type RemoteRelationship struct {
	Name       string `json:"name"`
	Definition struct {
		ToRemoteSchema struct {
			RemoteSchema string                 `json:"remote_schema"`
			LHSFields    []string               `json:"lhs_fields"`
			RemoteField  map[string]RemoteField `json:"remote_field"`
		} `json:"to_remote_schema"`
	} `json:"definition"`
}

// RemoteField is a field of a remote schema and what it is given.
type RemoteField struct {
	Arguments map[string]any         `json:"arguments"`
	Field     map[string]RemoteField `json:"field,omitempty"`
}

// SelectPermission is what a role reads.
type SelectPermission struct {
	Role       string `json:"role"`
	Permission struct {
		Columns []string       `json:"columns"`
		Filter  map[string]any `json:"filter"`
	} `json:"permission"`
}

// Header is one that Hasura sends.
type Header struct {
	Name         string `json:"name"`
	Value        string `json:"value,omitempty"`
	ValueFromEnv string `json:"value_from_env,omitempty"`
}

// Columns are those whose change fires a trigger, and those that it tells (all,
// where none are named): "*" or a list.
type Columns struct {
	Columns any `json:"columns"`
	Payload any `json:"payload,omitempty"`
}

// EventTrigger tells of changed rows.
type EventTrigger struct {
	Name       string `json:"name"`
	Definition struct {
		EnableManual bool     `json:"enable_manual"`
		Insert       *Columns `json:"insert,omitempty"`
		Update       *Columns `json:"update,omitempty"`
		Delete       *Columns `json:"delete,omitempty"`
	} `json:"definition"`
	RetryConf struct {
		NumRetries  int `json:"num_retries"`
		IntervalSec int `json:"interval_sec"`
		TimeoutSec  int `json:"timeout_sec"`
	} `json:"retry_conf"`
	Webhook string   `json:"webhook"`
	Headers []Header `json:"headers"`
}

// RemoteSchema is a GraphQL server behind Hasura.
type RemoteSchema struct {
	Name       string `json:"name"`
	Definition struct {
		URL                  string         `json:"url"`
		Headers              []Header       `json:"headers"`
		ForwardClientHeaders bool           `json:"forward_client_headers"`
		TimeoutSeconds       int            `json:"timeout_seconds"`
		Customization        *Customization `json:"customization,omitempty"`
	} `json:"definition"`
	Comment     string             `json:"comment"`
	Permissions []RemotePermission `json:"permissions"`
}

// Customization renames what a remote schema brings into Hasura's.
type Customization struct {
	RootFieldsNamespace string       `json:"root_fields_namespace,omitempty"`
	TypeNames           *TypeNames   `json:"type_names,omitempty"`
	FieldNames          []FieldNames `json:"field_names,omitempty"`
}

// TypeNames renames types; Mapping wins over the others.
type TypeNames struct {
	Prefix  string            `json:"prefix,omitempty"`
	Suffix  string            `json:"suffix,omitempty"`
	Mapping map[string]string `json:"mapping,omitempty"`
}

// FieldNames renames fields of a type, which it calls as we do; Mapping wins.
type FieldNames struct {
	ParentType string            `json:"parent_type"`
	Prefix     string            `json:"prefix,omitempty"`
	Suffix     string            `json:"suffix,omitempty"`
	Mapping    map[string]string `json:"mapping,omitempty"`
}

// RemotePermission is what a role sees of a remote schema, as SDL.
type RemotePermission struct {
	Role       string `json:"role"`
	Definition struct {
		Schema string `json:"schema"`
	} `json:"definition"`
}

// Action is a field whose answer comes from a webhook.
type Action struct {
	Name       string           `json:"name"`
	Definition ActionDefinition `json:"definition"`
	Comment    string           `json:"comment,omitempty"`
	Permission []Role           `json:"permissions"`
}

// Role is a permission that is a role alone.
type Role struct {
	Role string `json:"role"`
}

// ActionDefinition is how an action is called, and what it takes and gives.
type ActionDefinition struct {
	Kind                 string     `json:"kind,omitempty"`
	Type                 string     `json:"type,omitempty"`
	Handler              string     `json:"handler"`
	Timeout              int        `json:"timeout"`
	Headers              []Header   `json:"headers"`
	ForwardClientHeaders bool       `json:"forward_client_headers,omitempty"`
	Arguments            []Argument `json:"arguments"`
	OutputType           string     `json:"output_type"`
}

// Argument is one of an action, or a field of a type.
type Argument struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
}

// CustomTypes are the types of actions.
type CustomTypes struct {
	Enums        []any        `json:"enums"`
	InputObjects []any        `json:"input_objects"`
	Objects      []ObjectType `json:"objects"`
	Scalars      []any        `json:"scalars"`
}

// ObjectType is what an action gives.
type ObjectType struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Fields      []Argument `json:"fields,omitempty"`
}

// CronTrigger calls a webhook by a schedule.
type CronTrigger struct {
	Name              string `json:"name"`
	Webhook           string `json:"webhook"`
	Schedule          string `json:"schedule"`
	IncludeInMetadata bool   `json:"include_in_metadata"`
	Payload           any    `json:"payload"`
	RetryConf         struct {
		NumRetries           int `json:"num_retries"`
		RetryIntervalSeconds int `json:"retry_interval_seconds"`
		TimeoutSeconds       int `json:"timeout_seconds"`
		ToleranceSeconds     int `json:"tolerance_seconds"`
	} `json:"retry_conf"`
	Headers []Header `json:"headers"`
	Comment string   `json:"comment"`
}

// Name is that of the remote schema, and what names of ours begin with.
const Name = "nchat_realtime"
