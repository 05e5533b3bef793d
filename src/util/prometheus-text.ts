export type PrometheusLabels = Readonly<Record<string, string>>

/** Lines in Prometheus' text format, version 0.0.4. */
export class PrometheusText {
  #lines: string[] = []

  /** What the samples that follow are of. */
  head(name: string, type: 'gauge' | 'counter', help: string): void {
    this.#lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`)
  }

  sample(name: string, labels: PrometheusLabels, value: number): void {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
    this.#lines.push(`${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${formatValue(value)}`)
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`
  }
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"')
}

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}
