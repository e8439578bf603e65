// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"sync"
	"time"

	gethlog "github.com/ethereum/go-ethereum/log"
)

// maxProfileTime bounds a profile that is taken for a time.
const maxProfileTime = 10 * time.Minute

var errNoLogLevels = errors.New("the level of the log cannot be changed")

// debugRuntimeAPI is the part of the debug namespace about the Go runtime and the log.
type debugRuntimeAPI struct {
	b *backend

	mu struct {
		sync.Mutex
		cpu, trace *os.File // open while it is being written
	}
}

// MemStats returns the statistics of the memory allocator.
func (api *debugRuntimeAPI) MemStats() *runtime.MemStats {
	stats := new(runtime.MemStats)
	runtime.ReadMemStats(stats)
	return stats
}

// GcStats returns the statistics of the garbage collector.
func (api *debugRuntimeAPI) GcStats() *debug.GCStats {
	stats := new(debug.GCStats)
	debug.ReadGCStats(stats)
	return stats
}

// FreeOSMemory returns free memory to the operating system.
func (api *debugRuntimeAPI) FreeOSMemory() { debug.FreeOSMemory() }

// SetGCPercent sets how much the heap may grow until it is collected, and returns the value before.
func (api *debugRuntimeAPI) SetGCPercent(percent int) int { return debug.SetGCPercent(percent) }

// SetMemoryLimit sets the memory that the runtime tries not to exceed, in bytes, and returns the value before.
func (api *debugRuntimeAPI) SetMemoryLimit(limit int64) int64 { return debug.SetMemoryLimit(limit) }

// SetBlockProfileRate sets how many blocking events are profiled: one in rate nanoseconds blocked.
func (api *debugRuntimeAPI) SetBlockProfileRate(rate int) { runtime.SetBlockProfileRate(rate) }

// SetMutexProfileFraction sets how many contentions are profiled: one in rate.
func (api *debugRuntimeAPI) SetMutexProfileFraction(rate int) { runtime.SetMutexProfileFraction(rate) }

// Stacks returns the stacks of all goroutines, or of those that a regular expression matches.
func (api *debugRuntimeAPI) Stacks(filter *string) (string, error) {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		return "", err
	}
	if filter == nil || *filter == "" {
		return all.String(), nil
	}
	pattern, err := regexp.Compile(*filter)
	if err != nil {
		return "", invalidParams("invalid filter: %v", err)
	}
	var matching bytes.Buffer
	for stack := range bytes.SplitSeq(all.Bytes(), []byte("\n\n")) {
		if pattern.Match(stack) {
			matching.Write(append(stack, "\n\n"...))
		}
	}
	return matching.String(), nil
}

// CpuProfile writes a CPU profile of some seconds to a file.
func (api *debugRuntimeAPI) CpuProfile(ctx context.Context, file string, seconds uint) error {
	if err := api.StartCPUProfile(ctx, file); err != nil {
		return err
	}
	wait(ctx, seconds)
	return api.StopCPUProfile(ctx)
}

// GoTrace writes an execution trace of some seconds to a file.
func (api *debugRuntimeAPI) GoTrace(ctx context.Context, file string, seconds uint) error {
	if err := api.StartGoTrace(ctx, file); err != nil {
		return err
	}
	wait(ctx, seconds)
	return api.StopGoTrace(ctx)
}

// wait waits for some seconds, at most maxProfileTime, or until ctx ends.
func wait(ctx context.Context, seconds uint) {
	timer := time.NewTimer(min(time.Duration(min(seconds, 1<<30))*time.Second, maxProfileTime))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// StartCPUProfile begins to write a CPU profile to a file.
func (api *debugRuntimeAPI) StartCPUProfile(ctx context.Context, file string) error {
	api.mu.Lock()
	defer api.mu.Unlock()
	return api.start(ctx, &api.mu.cpu, file, "CPU profiling already in progress", pprof.StartCPUProfile)
}

// StopCPUProfile ends the CPU profile.
func (api *debugRuntimeAPI) StopCPUProfile(context.Context) error {
	api.mu.Lock()
	defer api.mu.Unlock()
	return stop(&api.mu.cpu, "CPU profiling not in progress", pprof.StopCPUProfile)
}

// StartGoTrace begins to write an execution trace to a file.
func (api *debugRuntimeAPI) StartGoTrace(ctx context.Context, file string) error {
	api.mu.Lock()
	defer api.mu.Unlock()
	return api.start(ctx, &api.mu.trace, file, "trace already in progress", trace.Start)
}

// StopGoTrace ends the execution trace.
func (api *debugRuntimeAPI) StopGoTrace(context.Context) error {
	api.mu.Lock()
	defer api.mu.Unlock()
	return stop(&api.mu.trace, "trace not in progress", trace.Stop)
}

func (api *debugRuntimeAPI) start(ctx context.Context, current **os.File, name, busy string, begin func(io.Writer) error) error {
	if *current != nil {
		return errors.New(busy)
	}
	file, err := api.create(ctx, name)
	if err != nil {
		return err
	}
	if err := begin(file); err != nil {
		return errors.Join(err, file.Close())
	}
	*current = file
	return nil
}

func stop(current **os.File, idle string, end func()) error {
	if *current == nil {
		return errors.New(idle)
	}
	end()
	err := (*current).Close()
	*current = nil
	return err
}

// BlockProfile profiles blocking for some seconds, and writes the profile to a file.
func (api *debugRuntimeAPI) BlockProfile(ctx context.Context, file string, seconds uint) error {
	runtime.SetBlockProfileRate(1)
	defer runtime.SetBlockProfileRate(0)
	wait(ctx, seconds)
	return api.write(ctx, "block", file)
}

// MutexProfile profiles contention for some seconds, and writes the profile to a file.
func (api *debugRuntimeAPI) MutexProfile(ctx context.Context, file string, seconds uint) error {
	runtime.SetMutexProfileFraction(1)
	defer runtime.SetMutexProfileFraction(0)
	wait(ctx, seconds)
	return api.write(ctx, "mutex", file)
}

// WriteBlockProfile writes the profile of blocking to a file.
func (api *debugRuntimeAPI) WriteBlockProfile(ctx context.Context, file string) error {
	return api.write(ctx, "block", file)
}

// WriteMutexProfile writes the profile of contention to a file.
func (api *debugRuntimeAPI) WriteMutexProfile(ctx context.Context, file string) error {
	return api.write(ctx, "mutex", file)
}

// WriteMemProfile writes the profile of allocations to a file.
func (api *debugRuntimeAPI) WriteMemProfile(ctx context.Context, file string) error {
	return api.write(ctx, "heap", file)
}

func (api *debugRuntimeAPI) write(ctx context.Context, profile, name string) error {
	file, err := api.create(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(profile).WriteTo(file, 0), file.Close())
}

// create makes a file for a caller, or truncates it.
func (api *debugRuntimeAPI) create(ctx context.Context, name string) (*os.File, error) {
	path, err := api.b.filePath(ctx, name)
	if errors.Is(err, errNotIPC) {
		err = fmt.Errorf("%w; --metrics.pprof serves profiles over HTTP", err)
	}
	if err != nil {
		return nil, err
	}
	return os.Create(path)
}

// Verbosity sets which log lines are written: those up to a level, 0 (critical) to 5 (trace).
func (api *debugRuntimeAPI) Verbosity(level int) error {
	if api.b.LogLevels == nil {
		return errNoLogLevels
	}
	api.b.LogLevels.Verbosity(gethlog.FromLegacyLevel(level))
	return nil
}

// Vmodule sets levels for single packages or files, in go-ethereum's syntax: importer=5,sched/*=4,job.go=5.
func (api *debugRuntimeAPI) Vmodule(pattern string) error {
	if api.b.LogLevels == nil {
		return errNoLogLevels
	}
	return api.b.LogLevels.Vmodule(pattern)
}
