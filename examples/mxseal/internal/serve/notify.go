package serve

import (
	"fmt"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// What the daemon tells systemd (sd_notify(3)).
const (
	ready    = sd.SdNotifyReady
	stopping = sd.SdNotifyStopping
	alive    = sd.SdNotifyWatchdog
)

// reloading returns what Type=notify-reload wants to know: when the reload began.
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it never fails for this clock
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000)
}

// tell tells systemd, if it wants to know. Nobody can do anything about a failure, and systemd notices.
func tell(state string) { _, _ = sd.SdNotify(false, state) }

// watchdog returns a channel that has something whenever systemd expects a sign of life; nil if it does
// not. end stops that.
func watchdog() (tick <-chan time.Time, end func()) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(interval / 3)
	return ticker.C, ticker.Stop
}
