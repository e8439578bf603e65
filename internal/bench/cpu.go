// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"runtime"
	"syscall"
	"time"
)

// CPU is processor time that one block took, in seconds: of the whole process, which is the node, the peers
// and the collection of garbage. Other work on the machine does not count, but makes it a bit longer.
type CPU struct {
	Prefetch float64 `json:"prefetch"` // of the strategy beam
	Execute  float64 `json:"execute"`  // the rest
}

// cpuTime returns the processor time that the process has taken so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// cpuWatch measures one block.
type cpuWatch struct{ begin, prefetched time.Duration }

// watchCPU begins to measure. The garbage of the block before is collected first.
func watchCPU() cpuWatch {
	runtime.GC()
	now := cpuTime()
	return cpuWatch{now, now}
}

// prefetchDone ends the prefetch.
func (w *cpuWatch) prefetchDone() { w.prefetched = cpuTime() }

// stop ends the execution.
func (w *cpuWatch) stop() CPU {
	return CPU{Prefetch: (w.prefetched - w.begin).Seconds(), Execute: (cpuTime() - w.prefetched).Seconds()}
}
