// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestSaysWhatToStart: a node without a consensus client says which address and which secret one needs.
func TestSaysWhatToStart(t *testing.T) {
	cfg := localConfig(t)
	check(t, Init(cfg, pragueGenesis(), discard))
	var log bytes.Buffer
	n, err := New(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	check(t, err)
	running := run(t, n)
	n.logIdle()
	running.stop(t)
	n.light, n.cfg.Beacon.API = new(lightClient), []string{"https://user:secret@beacon.example.org/path"}
	n.logIdle()
	if strings.Contains(log.String(), "secret@") {
		t.Errorf("credentials in %s", &log)
	}
	for _, want := range []string{"The beacon API has not named a head", "api=[https://beacon.example.org]", "level=WARN", "No consensus client has called", "engine=http://127.0.0.1:", "jwt_secret=" + cfg.JWTFile()} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	}
}
