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
	for _, want := range []string{"level=WARN", "No consensus client has called", "engine=http://127.0.0.1:", "jwt_secret=" + cfg.JWTFile()} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	}
}
