// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// table prints a result for people.
func (r *BackfillResult) table(out io.Writer, opts *BackfillOptions) {
	fmt.Fprintf(out, "%s; %d peers at %v; a block of %.1f Mgas every %v\n", opts.State.Name(), opts.Peers, opts.RTT, float64(opts.Gas)/1e6, opts.Slot)
	fmt.Fprintf(out, "%-10s %9s %9s %9s %9s %9s\n", "", "seconds", "MB", "CPU s", "peers' s", "MB RSS")
	fmt.Fprintf(out, "%-10s %9.1f %9.1f %9.1f %9.1f %9d\n", "sunbeam", r.Seconds, float64(r.Bytes)/1e6, r.CPU, r.PeersCPU, r.RSS/1e6)
	if opts.Versus != "" {
		fmt.Fprintf(out, "%-10s %9.1f %9.1f %9.1f %9.1f %9d\n", opts.Versus, r.GethSeconds, float64(r.GethBytes)/1e6, r.GethCPU, r.GethPeers, r.GethRSS/1e6)
		fmt.Fprintf(out, "ratio %.2f in time, %.2f in bytes\n", r.Ratio, float64(r.Bytes)/float64(r.GethBytes))
	}
	if leaves := float64(r.Accounts + r.Slots); leaves > 0 {
		fmt.Fprintf(out, "a leaf: %.1f us of CPU, %.0f bytes written, %.0f bytes on disk\n", 1e6*r.CPU/leaves, float64(r.Written)/leaves, float64(r.Disk)/leaves)
	}
	fmt.Fprintf(out, "full: %v, one state complete after %.1f s; %s\n", r.Full, r.StateAfter, r.StateReport)
	fmt.Fprintf(out, "%d of %d blocks VALID, the first after %.1f s; newPayload to VALID p50 %.3f s, p95 %.3f s", r.Valid, r.Blocks, r.FirstValidSeconds, r.P50, r.P95)
	if opts.Alone {
		fmt.Fprintf(out, "; without backfill %.3f s, %.3f s", r.P50Alone, r.P95Alone)
	}
	fmt.Fprintln(out)
	if opts.Kills > 0 {
		fmt.Fprintf(out, "killed %d times: %.2f %% of the bytes more\n", r.Kills, 100*r.RefetchedShare)
	}
}

// writtenBytes is what a process has had written to disks; 0 where the system does not tell.
func writtenBytes(pid int) (bytes uint64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			bytes, _ = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
	}
	return bytes
}

// cpuSeconds is the processor time that a process has used; 0 where the system does not tell.
func cpuSeconds(pid int) float64 {
	const ticks = 100 // a second, in /proc
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // the name before may have spaces
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
}
