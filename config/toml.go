// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/naoina/toml"
)

// fromFile reads a TOML file: keys are those of Config, sections its structs, or it is a file of geth. An
// unknown key is an error that names it. No path: no settings.
func fromFile(path, chosenBy string) (source, []Note, error) {
	src := make(source)
	if path == "" {
		return src, nil, nil
	}
	bad := func(err error) (source, []Note, error) {
		return nil, nil, &ValueError{Flag: "config", Value: path, Origin: chosenBy, Err: err}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return bad(err)
	}
	tree := make(map[string]any)
	if err := toml.Unmarshal(file, &tree); err != nil {
		return bad(err)
	}
	byKey := make(map[string]*option)
	for i := range options {
		byKey[options[i].key] = &options[i]
	}
	flat := make(map[string]any)
	flatten(flat, "", tree)
	if isGethFile(flat) {
		return fromGethFile(flat, path)
	}
	var unknown []string
	for key, value := range flat {
		o, ok := byKey[key]
		if !ok {
			unknown = append(unknown, key)
			continue
		}
		origin := fmt.Sprintf("%s in %s", key, path)
		texts, err := tomlTexts(value, new(Config).field(o).Kind() == reflect.Slice)
		if err != nil {
			return nil, nil, &ValueError{Flag: o.flag, Value: fmt.Sprint(value), Origin: origin, Err: err, secret: o.secret}
		}
		src[o.flag] = setting{texts: texts, origin: origin}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return bad(fmt.Errorf("unknown field %s", strings.Join(unknown, ", ")))
	}
	return src, nil, nil
}

// flatten turns sections into dotted keys.
func flatten(flat map[string]any, prefix string, tree map[string]any) {
	for name, value := range tree {
		if section, ok := value.(map[string]any); ok {
			flatten(flat, prefix+name+".", section)
			continue
		}
		flat[prefix+name] = value
	}
}

// tomlTexts returns a value of the file as the texts that a flag would have.
func tomlTexts(value any, wantList bool) ([]string, error) {
	switch v := value.(type) {
	case string:
		if wantList {
			return nil, errors.New("want a list of strings")
		}
		return []string{v}, nil
	case bool, int64, float64:
		if wantList {
			return nil, errors.New("want a list of strings")
		}
		return []string{fmt.Sprint(v)}, nil
	case []any:
		if !wantList {
			return nil, errors.New("want one value, not a list")
		}
		texts := make([]string, 0, len(v))
		for _, element := range v {
			text, ok := element.(string)
			if !ok {
				return nil, errors.New("want a list of strings")
			}
			texts = append(texts, text)
		}
		return texts, nil
	}
	return nil, errors.New("want text, a whole number, true, false or a list of strings")
}

// TOML returns the configuration as a file that --config accepts, each setting under
// its help text. Secrets and URLs with credentials are left out. Settings that are lists and were not given stay commented out,
// because an empty list means none.
func (c *Config) TOML() []byte {
	var out strings.Builder
	out.WriteString("# Sunbeam configuration, for --config. Flags and the environment (SUNBEAM_...) win over it.\n")
	sections := []string{""} // keys outside of sections come first
	for _, o := range options {
		if section, _ := splitKey(o.key); !slices.Contains(sections, section) {
			sections = append(sections, section)
		}
	}
	for _, section := range sections {
		if section != "" {
			fmt.Fprintf(&out, "\n[%s]\n", section)
		}
		for i := range options {
			o := &options[i]
			in, name := splitKey(o.key)
			switch field := c.field(o); {
			case in != section:
			case o.hidden(field.Interface()):
				fmt.Fprintf(&out, "# --%s: %s\n# (is set, and left out here: it has credentials)\n", o.flag, o.usage)
			default:
				fmt.Fprintf(&out, "# --%s: %s\n%s\n", o.flag, o.usage, tomlLine(name, field))
			}
		}
	}
	return []byte(out.String())
}

// splitKey returns a key's section, empty for none, and its name there.
func splitKey(key string) (section, name string) {
	if section, name, ok := strings.Cut(key, "."); ok {
		return section, name
	}
	return "", key
}

func tomlLine(name string, field reflect.Value) string {
	switch v := field.Interface().(type) {
	case []string:
		if v == nil {
			return "#" + name + " = []"
		}
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = tomlQuote(s)
		}
		return name + " = [" + strings.Join(quoted, ", ") + "]"
	case string:
		return name + " = " + tomlQuote(v)
	case time.Duration:
		return name + " = " + tomlQuote(v.String())
	case bool:
		return name + " = " + strconv.FormatBool(v)
	case float64:
		return name + " = " + strconv.FormatFloat(v, 'f', -1, 64)
	case uint64:
		if v > math.MaxInt64 { // more than TOML's numbers hold
			return fmt.Sprintf("%s = %q", name, strconv.FormatUint(v, 10))
		}
		return fmt.Sprintf("%s = %d", name, v)
	default:
		return fmt.Sprintf("%s = %d", name, v)
	}
}

// tomlQuote writes a basic string; TOML's escapes include all of JSON's.
func tomlQuote(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return `""` // a string always marshals
	}
	return string(quoted)
}
