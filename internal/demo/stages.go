// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// stageInterval is how often the demo says what it does before it begins.
const stageInterval = 5 * time.Second

// stages are what goes on before the demo begins.
type stages struct {
	out   io.Writer
	began time.Time

	mu   sync.Mutex
	open []string
}

// begin adds one until done is called.
func (s *stages) begin(what string) (done func()) {
	began := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, what)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = slices.DeleteFunc(s.open, func(open string) bool { return open == what })
		if took := time.Since(began); took >= stageInterval {
			fmt.Fprintf(s.out, "  %s took %.0f s\n", what, took.Seconds())
		}
	}
}

// report says from time to time what goes on, until done is called.
func (s *stages) report() (done func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(stageInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.mu.Lock()
				fmt.Fprintf(s.out, "  ... %.0f s: %s\n", time.Since(s.began).Seconds(), strings.Join(s.open, ", "))
				s.mu.Unlock()
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
