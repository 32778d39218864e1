/** Where fields find devices and people by typed letters, and the names of those that are chosen. */
import { api, unwrap, type Api } from '../api';

/** One that can be chosen; `detail` tells it from others of its name. */
export interface Found {
  value: string;
  label: string;
  detail: string;
}

interface Asked<Data> {
  queryKey: readonly string[];
  queryFn: (given: { signal: AbortSignal }) => Promise<Data>;
}

export interface Lookup {
  search: (typed: string) => Asked<Found[]>;
  /** The one with this value. */
  one: (value: string) => Asked<Found>;
}

const FOUND = 20;

const deviceFound = (device: Api<'DeviceSummary'>): Found => ({ value: device.id, label: device.name || device.id, detail: [device.room, device.board].filter(Boolean).join(' · ') });
const personFound = (person: Api<'Account'>): Found => ({ value: person.id, label: person.display_name || person.name, detail: person.display_name ? person.name : '' });

/** The devices that the person sees, by name. */
export const devices: Lookup = {
  search: (typed) => ({
    queryKey: ['devices', 'field', typed],
    queryFn: async ({ signal }) => (await unwrap(api.GET('/devices', { params: { query: { search: typed || undefined, sort: 'name', limit: FOUND } }, signal }))).items.map(deviceFound),
  }),
  one: (value) => ({
    queryKey: ['devices', 'field-one', value],
    queryFn: async ({ signal }) => deviceFound(await unwrap(api.GET('/devices/{device_id}', { params: { path: { device_id: value } }, signal }))),
  }),
};

/** All accounts, by name, for administrators. */
export const people: Lookup = {
  search: (typed) => ({
    queryKey: ['users', 'field', typed],
    queryFn: async ({ signal }) => (await unwrap(api.GET('/users', { params: { query: { text: typed, limit: FOUND } }, signal }))).items.map(personFound),
  }),
  one: (value) => ({
    queryKey: ['users', 'field-one', value],
    queryFn: async ({ signal }) => personFound(await unwrap(api.GET('/users/{user_id}', { params: { path: { user_id: value } }, signal }))),
  }),
};
