import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

interface Citation {
  readonly file: string
  readonly titles: readonly string[]
}

function citations(): Citation[] {
  const text = readFileSync('test/PROMISES.md', 'utf8')
  return [...text.matchAll(/`([\w/.-]+\.ts): ([^`]+)`/g)].map(([, file, titles]) => ({
    file: file!,
    titles: titles!.split(' > '),
  }))
}

/** Whole titles, or what stands of one between the places where a run fills something in. */
function hasTitle(source: string, title: string): boolean {
  for (let at = source.indexOf(title); at >= 0; at = source.indexOf(title, at + 1)) {
    const begins = /(['"`]|\$\{[^}]*\}:? )$/.test(source.slice(Math.max(0, at - 80), at))
    const ends = /^(['"`]|[: ]*\(?[a-z ]*\$\{)/.test(source.slice(at + title.length, at + title.length + 40))
    if (begins && ends) return true
  }
  return false
}

it('every test that PROMISES.md names is there', () => {
  const found = citations()
  expect(found.length).toBeGreaterThan(150)
  const sources = new Map(found.map(({ file }) => [file, readFileSync(`test/${file}`, 'utf8')]))
  const missing = found.flatMap(({ file, titles }) =>
    titles.filter((title) => !hasTitle(sources.get(file)!, title)).map((title) => `${file}: ${title}`),
  )
  expect(missing).toEqual([])
})

it('every rule that PROMISES.md lists names a test, or says why there is none', () => {
  const text = readFileSync('test/PROMISES.md', 'utf8')
  const ids = [...text.matchAll(/^\| ([WDLSTCKE]\d) \|/gm)].map(([, id]) => id!)
  const numbers = { W: 6, D: 9, L: 9, S: 5, T: 3, C: 1, K: 2, E: 5 }
  expect(ids).toEqual(
    Object.entries(numbers).flatMap(([letter, count]) =>
      Array.from({ length: count }, (_, i) => `${letter}${i + 1}`),
    ),
  )
  const untested = text.split('\n').filter((line) => /^\| [\w, .]+ \|.*\| \|$/.test(line))
  expect(untested.map((line) => line.split(' ')[1])).toEqual(['L9'])
  const bugs = [...text.matchAll(/^\| ([\d, ]+) \| .+ \| .+ \|$/gm)].flatMap(([, list]) => list!.split(', '))
  expect(bugs.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 34 }, (_, i) => i + 1))
})
