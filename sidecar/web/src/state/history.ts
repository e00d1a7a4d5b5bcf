// The last minutes of a few numbers, for the charts: one sample every SAMPLE_MS, in columns of fixed length.

export const SAMPLE_MS = 500;
/** Five minutes. */
export const SAMPLES_MAX = 600;

/** Names of the series that are kept for each subject (a validator's id, or `ALL`). */
export const SERIES = ["applied", "final", "finalP50", "finalP99", "appliedP99"] as const;
export type Series = (typeof SERIES)[number];
export type Sample = Record<Series, number | null>;

/** The whole network. */
export const ALL = "";

interface Columns {
  values: Record<Series, (number | null)[]>;
}

/** A table of samples: one column of times (seconds since 1970, as the charts want them) and columns for each subject. */
export class History {
  readonly times: number[] = [];
  private readonly subjects = new Map<string, Columns>();

  /** Adds a row. A subject that is not in it gets a hole; one that was gone for the whole window is forgotten. */
  push(timeMs: number, samples: Map<string, Sample>): void {
    this.times.push(timeMs / 1_000);
    for (const id of samples.keys()) {
      if (!this.subjects.has(id)) this.subjects.set(id, { values: holes(this.times.length - 1) });
    }
    const full = this.times.length > SAMPLES_MAX;
    if (full) this.times.shift();
    for (const [id, columns] of this.subjects) {
      const sample = samples.get(id);
      for (const name of SERIES) {
        columns.values[name].push(sample ? sample[name] : null);
        if (full) columns.values[name].shift();
      }
      if (!sample && full && columns.values.applied.every((value) => value === null)) this.subjects.delete(id);
    }
  }

  /** The columns of a subject, as long as `times`. */
  columns(id: string, names: readonly Series[]): (number | null)[][] {
    const columns = this.subjects.get(id);
    return names.map((name) => columns?.values[name] ?? new Array<number | null>(this.times.length).fill(null));
  }
}

function holes(length: number): Record<Series, (number | null)[]> {
  return Object.fromEntries(SERIES.map((name) => [name, new Array<number | null>(length).fill(null)])) as Record<Series, (number | null)[]>;
}
