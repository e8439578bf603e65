// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build browser

package page

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chromium runs a headless browser on a page and returns what it printed.
func chromium(t *testing.T, url string, args ...string) string {
	t.Helper()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
		"--user-data-dir=" + t.TempDir(),
	}, append(args, url)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "chromium", args...).Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// TestBrowser shows the page in a real browser: `make page-test`. PAGE_SHOTS names a directory for pictures of it.
func TestBrowser(t *testing.T) {
	url, _, _ := start(t)
	dom := chromium(t, url+"?once", "--dump-dom", "--virtual-time-budget=3000")
	for _, want := range []string{
		"42.4 %", "83 min to go, likely 67 min to 2.5 h", "23,000,017", "incomplete", "The rest of the state waits for peers.", "800 GB", "0xabababababababab...", "parts of the state (Sunbeam)",
		"go1.26&lt;script&gt;", "97 of 256 slices are complete", "40 reads needed the network", "speculating <b>180 ms", "62.6 MB", "42.3 GB", "about 4.2 GB of chaindata is the log index",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	shots := os.Getenv("PAGE_SHOTS")
	if shots == "" {
		return
	}
	for name, args := range map[string][]string{
		"light": {"--window-size=1280,1000"}, "dark": {"--window-size=1280,1000", "--blink-settings=preferredColorScheme=0"}, "phone": {"--window-size=390,1900"},
	} {
		chromium(t, url, append(args, "--timeout=4000", "--screenshot="+filepath.Join(shots, name+".png"))...)
	}
}
