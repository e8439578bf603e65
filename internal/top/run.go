// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/sunbeam-eth/sunbeam/internal/page"
)

const (
	interval = time.Second     // between an answer and the next question
	patience = 5 * time.Second // for an answer
)

// Source asks the node what it does.
type Source func(ctx context.Context) (*page.State, error)

// Once writes one frame of a width, without styles.
func Once(ctx context.Context, ask Source, out io.Writer, width int) error {
	state, err := ask(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, Text(Render(View{State: state, Width: width})))
	return err
}

// Run draws frames on the terminal until q, Esc or Ctrl-C is pressed or ctx ends. A node that goes away is asked again.
func Run(ctx context.Context, ask Source) error {
	screen, err := tcell.NewScreen()
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return run(ctx, ask, screen)
}

func run(ctx context.Context, ask Source, screen tcell.Screen) error {
	if err := screen.Init(); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	for shown, plain := range map[rune]string{'█': "#", '▒': "+", '░': ".", '…': "~"} { // in a locale without these
		screen.RegisterRuneFallback(shown, plain)
	}
	ctx, cancel := context.WithCancel(ctx)
	answers, events, over := make(chan answer), make(chan tcell.Event), make(chan struct{})
	go func() {
		defer close(over)
		questions(ctx, ask, answers)
	}()
	go screen.ChannelEvents(events, ctx.Done())
	defer func() {
		cancel()
		screen.Fini()
		<-over
	}()
	var v View
	for answered := time.Now(); ; {
		v.Width, v.Height = screen.Size()
		paint(screen, Render(v))
		select {
		case <-ctx.Done():
			return nil
		case a := <-answers:
			if a.err == nil {
				v.State, v.Lost, answered = a.state, "", time.Now()
			} else {
				v.Lost, v.Since = a.err.Error(), time.Since(answered)
			}
		case event, ok := <-events:
			if !ok || ends(event) {
				return nil
			}
			if _, resized := event.(*tcell.EventResize); resized {
				screen.Sync()
			}
		}
	}
}

// answer is what the node said.
type answer struct {
	state *page.State
	err   error
}

// questions asks the node, and waits between an answer and the next question.
func questions(ctx context.Context, ask Source, answers chan<- answer) {
	pause := time.NewTicker(interval)
	defer pause.Stop()
	for ctx.Err() == nil {
		limit, cancel := context.WithTimeout(ctx, patience)
		state, err := ask(limit)
		cancel()
		select {
		case answers <- answer{state, err}:
		case <-ctx.Done():
			return
		}
		pause.Reset(interval)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// ends says whether a key ends the program.
func ends(event tcell.Event) bool {
	key, ok := event.(*tcell.EventKey)
	return ok && (key.Key() == tcell.KeyEscape || key.Key() == tcell.KeyCtrlC || key.Key() == tcell.KeyRune && (key.Rune() == 'q' || key.Rune() == 'Q'))
}

// paint puts lines on the screen.
func paint(screen tcell.Screen, lines []Line) {
	screen.Clear()
	for y, l := range lines {
		x := 0
		for _, s := range l {
			screen.PutStrStyled(x, y, s.Text, style(s.Style))
			x += uniseg.StringWidth(s.Text)
		}
	}
	screen.Show()
}

// style maps a style to one of the terminal.
func style(s Style) tcell.Style {
	base := tcell.StyleDefault
	switch s {
	case Bold:
		return base.Bold(true)
	case Dim:
		return base.Dim(true)
	case Sun:
		return base.Foreground(tcell.PaletteColor(3))
	case Wait:
		return base.Foreground(tcell.PaletteColor(12)) // the bright blue: the other one is not legible on black
	case Guess:
		return base.Foreground(tcell.PaletteColor(5))
	case Good:
		return base.Foreground(tcell.PaletteColor(2))
	case Bad:
		return base.Foreground(tcell.PaletteColor(1)).Bold(true)
	}
	return base
}
