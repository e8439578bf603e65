// SPDX-License-Identifier: LGPL-3.0-or-later

// Package ops checks what is in deploy with the programs' own parsers: queries and rules as promtool does, the compose file as
// docker compose does. It is a module of its own, so that their requirements do not weigh on ours.
package ops

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const deploy = "../../deploy"

// Rules are what `promtool check rules` accepts.
func TestRules(t *testing.T) {
	files, err := filepath.Glob(deploy + "/prometheus/*.rules.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		for _, err := range errs {
			t.Errorf("%s: %v", file, err)
		}
		rules := make(map[string]bool)
		for _, group := range groups.Groups {
			for _, rule := range group.Rules {
				if name := rule.Record + rule.Alert; rules[name] {
					t.Errorf("%s: %s is there twice", file, name)
				} else {
					rules[name] = true
				}
			}
		}
		if len(rules) < 10 {
			t.Errorf("%s has %d rules", file, len(rules))
		}
	}
}

// Queries of dashboards are PromQL, once Grafana's variables have values.
func TestQueries(t *testing.T) {
	files, err := filepath.Glob(deploy + "/grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h")
	queries := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &dashboard); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				queries++
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(target.Expr)); err != nil {
					t.Errorf("%s, %s: %s: %v", file, panel.Title, target.Expr, err)
				}
			}
		}
	}
	if queries < 50 {
		t.Errorf("only %d queries", queries)
	}
}

// The compose file is valid by the specification's schema, and its services are whole.
func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{deploy + "/compose/compose.yaml"}, cli.WithName("sunbeam"), cli.WithDefaultProfiles("*"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) < 4 {
		t.Errorf("services %v", project.ServiceNames())
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type == "bind" {
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}
