package serve

import (
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// What the daemon tells systemd (sd_notify(3)).
const (
	ready     = sd.SdNotifyReady
	reloading = sd.SdNotifyReloading
	stopping  = sd.SdNotifyStopping
	alive     = sd.SdNotifyWatchdog
)

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
