// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"errors"
	"time"
)

const (
	// roundLimit is how long the unanswered questions of one round are asked again.
	roundLimit = time.Minute
	// askAgain is the pause before that, for what was busy to become free.
	askAgain = time.Second
)

// round is a set of questions that are asked together.
type round struct {
	// ask compares the answers about a block: see Compare.
	ask func(ctx context.Context, q Question, block uint64) error
	// newest is the block to ask about when a question is asked again: an older one may have left the
	// window of states by then.
	newest func() uint64
	// different is told of each answer that is not geth's.
	different func(error)
}

// result counts the outcomes of a round.
type result struct {
	same, different, unanswered int
	last                        error // of the last unanswered question; nil if there is none
}

// run asks all questions about a block, and those without an answer again until roundLimit is over.
// What ctx cuts short is not counted.
func (r *round) run(ctx context.Context, questions []Question, block uint64) (sum result) {
	end := time.Now().Add(roundLimit)
	for first := true; len(questions) > 0 && ctx.Err() == nil; first = false {
		if !first {
			if !pause(ctx, askAgain) {
				return sum
			}
			block = r.newest()
		}
		var again []Question
		for i, q := range questions {
			if time.Now().After(end) {
				sum.unanswered = len(again) + len(questions[i:])
				return sum
			}
			err := r.ask(ctx, q, block)
			switch {
			case err == nil:
				sum.same++
			case ctx.Err() != nil:
				return sum
			case errors.Is(err, ErrUnanswered):
				sum.last = err
				again = append(again, q)
			default:
				sum.different++
				r.different(err)
			}
		}
		questions = again
	}
	return sum
}

// pause waits. It reports false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
