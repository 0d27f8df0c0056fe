import { monitorEventLoopDelay } from "node:perf_hooks";

/** How much later than asked for this process did its next work, in ms. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** ms between two samples. Each wakes up a process that may have nothing else to do: 50 a second took 0.8 % of a core. */
const RESOLUTION = 50;
/** ms of one measurement. */
const SPAN = 10_000;

/** Measures the delay of this process's event loop, span after span. */
export class LoopDelayMeter {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  #last: LoopDelay | undefined;

  constructor() {
    this.#histogram.enable();
    setInterval(() => this.#finish(), SPAN).unref();
  }

  /** Of the last whole span, or of the first one so far. Undefined: the process has only begun. */
  read(): LoopDelay | undefined {
    return this.#last ?? this.#current();
  }

  #finish(): void {
    this.#last = this.#current();
    this.#histogram.reset();
  }

  #current(): LoopDelay | undefined {
    if (this.#histogram.count === 0) return undefined;
    return { p50: this.#delay(50), p99: this.#delay(99), max: this.#delay(100) };
  }

  /** The histogram has the time between two samples, which is the resolution without any delay. */
  #delay(percentile: number): number {
    const ms = this.#histogram.percentile(percentile) / 1e6 - RESOLUTION;
    return Math.max(Math.round(ms * 100) / 100, 0);
  }
}
