// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/sunbeam-eth/sunbeam/internal/page"
)

// screen is one whose cells, which tcell does not copy, are not read while they are drawn.
type screen struct {
	tcell.SimulationScreen
	mu sync.Mutex
}

func (s *screen) Show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.SimulationScreen.Show()
}

func (s *screen) Sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.SimulationScreen.Sync()
}

// shown is what stands on the screen.
func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	cells, width, _ := s.GetContents()
	var b strings.Builder
	for i, c := range cells {
		if i > 0 && i%width == 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(c.Runes))
	}
	return b.String()
}

// TestRun: a node that goes away and comes back, a terminal that is made narrow, and keys.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := &screen{SimulationScreen: tcell.NewSimulationScreen("UTF-8")}
		var gone atomic.Bool
		var asked atomic.Int64
		over := make(chan error, 1)
		go func() {
			over <- run(t.Context(), func(ctx context.Context) (*page.State, error) {
				s := sample()
				s.Head += uint64(asked.Add(1))
				if gone.Load() {
					return nil, errors.New("connection refused")
				}
				return s, ctx.Err()
			}, screen)
		}()
		expect := func(has, hasNot string) {
			t.Helper()
			synctest.Wait()
			if frame := screen.shown(); !strings.Contains(frame, has) || strings.Contains(frame, hasNot) {
				t.Errorf("want %q and no %q:\n%s", has, hasNot, frame)
			}
		}
		time.Sleep(100 * time.Millisecond)
		expect("head 23,000,018", "does not answer")
		time.Sleep(2 * time.Second)
		expect("head 23,000,020", "does not answer")
		gone.Store(true)
		time.Sleep(3 * time.Second)
		expect("does not answer: connection refused. This was 3 s ago.", "waits for peers")
		gone.Store(false)
		time.Sleep(time.Second)
		expect("The rest of the state waits for peers.", "does not answer")
		screen.SetSize(30, 12)
		if err := screen.PostEvent(tcell.NewEventResize(30, 12)); err != nil {
			t.Fatal(err)
		}
		expect("State  42.4 % ███████░░░░░░░░░", "not shown) ")
		screen.InjectKey(tcell.KeyRune, 'x', 0)
		time.Sleep(2 * time.Second)
		screen.InjectKey(tcell.KeyRune, 'q', 0)
		if err := <-over; err != nil {
			t.Error(err)
		}
		if n := asked.Load(); n < 8 || n > 10 {
			t.Errorf("asked %d times in 8 s", n)
		}
	})
}

// A signal ends it while the node keeps it waiting.
func TestRunEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			over <- run(ctx, func(ctx context.Context) (*page.State, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, tcell.NewSimulationScreen("UTF-8"))
		}()
		time.Sleep(time.Second)
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}
