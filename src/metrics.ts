import { VarveError } from './errors.js'
import type { Stats } from './store/contract.js'
import { type LabelledStats, STAT_LABELS, writeStats } from './store/stat-metrics.js'
import { checkOptionNames } from './util/option-names.js'
import { PrometheusText } from './util/prometheus-text.js'

export type { LabelledStats } from './store/stat-metrics.js'

/** What is added to the figures of one store. */
export interface PrometheusOptions {
  /** Labels for every sample, such as `{ store: 'orders' }`. */
  readonly labels?: Readonly<Record<string, string>>
}

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/

/** What a page of `prometheusText` is sent as. */
export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * The figures of `db.stats()` in Prometheus' text format, for a `/metrics` of your own: positions of the log, levels,
 * amplification, memory, cache, stalls, consumers' lag. Bytes and seconds. Of several stores in one process give all
 * at once, each with a label of its own.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` for a label that is none, or is one of the figures' own.
 */
export function prometheusText(
  stats: Stats | readonly LabelledStats[],
  options: PrometheusOptions = {},
): string {
  checkOptionNames('prometheusText', options, { labels: true })
  const stores: readonly LabelledStats[] = isList(stats) ? stats : [{ stats, labels: {} }]
  const labelled = stores.map((store) => ({ ...store, labels: { ...options.labels, ...store.labels } }))
  for (const { labels } of labelled) for (const label of Object.entries(labels)) checkLabel(label)
  const text = new PrometheusText()
  writeStats(text, labelled)
  return text.toString()
}

function isList(stats: Stats | readonly LabelledStats[]): stats is readonly LabelledStats[] {
  return Array.isArray(stats)
}

function checkLabel([name, value]: readonly [string, unknown]): void {
  if (!LABEL_NAME.test(name) || name.startsWith('__'))
    throw invalid(`${JSON.stringify(name)} is no name of a label`)
  if (STAT_LABELS.includes(name)) throw invalid(`the label ${name} is one of the figures' own`)
  if (typeof value !== 'string') throw invalid(`the label ${name} is a string`)
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
