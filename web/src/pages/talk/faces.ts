/** The parts of a face for each emotion of the devices' protocol. */
export interface FaceParts {
  eyes: 'dot' | 'arc' | 'closed' | 'squeezed' | 'heart' | 'wide' | 'wink' | 'half' | 'aside' | 'uneven' | 'glasses';
  mouth: 'flat' | 'small' | 'smile' | 'grin' | 'frown' | 'wail' | 'o' | 'kiss' | 'tongue' | 'wavy' | 'smirk';
  brows?: 'angry' | 'sad' | 'up' | 'one';
  extra?: 'blush' | 'tear' | 'tears' | 'zzz' | 'dots' | 'question' | 'glasses';
}

export const faces = {
  neutral: { eyes: 'dot', mouth: 'small' },
  happy: { eyes: 'arc', mouth: 'smile' },
  laughing: { eyes: 'squeezed', mouth: 'grin' },
  funny: { eyes: 'arc', mouth: 'tongue' },
  sad: { eyes: 'dot', mouth: 'frown', brows: 'sad' },
  angry: { eyes: 'dot', mouth: 'frown', brows: 'angry' },
  crying: { eyes: 'closed', mouth: 'wail', extra: 'tears' },
  loving: { eyes: 'heart', mouth: 'smile' },
  embarrassed: { eyes: 'dot', mouth: 'wavy', brows: 'sad', extra: 'blush' },
  surprised: { eyes: 'wide', mouth: 'o', brows: 'up' },
  shocked: { eyes: 'wide', mouth: 'wail', brows: 'up' },
  thinking: { eyes: 'aside', mouth: 'flat', brows: 'one', extra: 'dots' },
  winking: { eyes: 'wink', mouth: 'smile' },
  cool: { eyes: 'glasses', mouth: 'smirk', extra: 'glasses' },
  relaxed: { eyes: 'closed', mouth: 'smile' },
  delicious: { eyes: 'arc', mouth: 'tongue', extra: 'blush' },
  kissy: { eyes: 'wink', mouth: 'kiss', extra: 'blush' },
  confident: { eyes: 'half', mouth: 'smirk', brows: 'one' },
  sleepy: { eyes: 'closed', mouth: 'small', extra: 'zzz' },
  silly: { eyes: 'uneven', mouth: 'tongue' },
  confused: { eyes: 'uneven', mouth: 'wavy', brows: 'one', extra: 'question' },
} as const satisfies Record<string, FaceParts>;

export type Emotion = keyof typeof faces;

export function isEmotion(name: string): name is Emotion {
  return Object.hasOwn(faces, name);
}

/** The face of an emotion; a neutral one for a name that the protocol does not have. */
export function faceOf(name: string): FaceParts {
  return isEmotion(name) ? faces[name] : faces.neutral;
}
