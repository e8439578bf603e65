// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// script answers each question as its method says: "same", "different", "never", or "late" for those
// that are answered from block 8 on.
func script(t *testing.T, newest uint64, asked *[]uint64, took time.Duration) *round {
	return &round{
		ask: func(ctx context.Context, q Question, block uint64) error {
			*asked = append(*asked, block)
			time.Sleep(took)
			switch {
			case q.Method == "different":
				return errors.New("differs")
			case q.Method == "never", q.Method == "late" && block < 8:
				return fmt.Errorf("%w by sunbeam", ErrUnanswered)
			}
			return ctx.Err()
		},
		newest: func() uint64 { newest++; return newest },
		different: func(err error) {
			if err.Error() != "differs" {
				t.Errorf("reported as different: %v", err)
			}
		},
	}
}

func questions(methods ...string) []Question {
	var all []Question
	for _, method := range methods {
		all = append(all, Question{Method: method})
	}
	return all
}

// What was not answered is asked again, about the newest block, and is neither right nor wrong.
func TestRoundAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []uint64
		got := script(t, 5, &asked, 0).run(t.Context(), questions("same", "late", "different", "late"), 4)
		if got.same != 3 || got.different != 1 || got.unanswered != 0 {
			t.Errorf("%+v", got)
		}
		if want := []uint64{4, 4, 4, 4, 6, 6, 7, 7, 8, 8}; fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("asked about the blocks %v, want %v", asked, want)
		}
	})
}

// A node that never answers, or that is slow with each answer, does not hold up the run.
func TestRoundEnds(t *testing.T) {
	for _, took := range []time.Duration{0, 5 * time.Second, callTimeout, 2 * roundLimit} {
		synctest.Test(t, func(t *testing.T) {
			var asked []uint64
			start := time.Now()
			got := script(t, 5, &asked, took).run(t.Context(), questions("never", "same", "never"), 4)
			if got.same+got.unanswered != 3 || got.unanswered < 2 || got.different != 0 || got.last == nil {
				t.Errorf("with %v a question: %+v", took, got)
			}
			if since := time.Since(start); since < roundLimit || since > roundLimit+took+askAgain {
				t.Errorf("with %v a question, the round took %v", took, since)
			}
		})
	}
}

func TestRoundEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var asked []uint64
		start := time.Now()
		got := script(t, 5, &asked, 0).run(ctx, questions("never"), 4)
		if got.same+got.different+got.unanswered != 0 || time.Since(start) != 10*time.Second {
			t.Errorf("%+v after %v", got, time.Since(start))
		}
	})
}
