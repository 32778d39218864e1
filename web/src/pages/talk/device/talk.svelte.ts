/**
 * The browser as a device: what it shows, and how it behaves. As firmware does, it sends its microphone while it listens,
 * plays what comes between `tts start` and `tts stop`, and listens again afterwards; in realtime mode it never stops
 * listening, and the server hears an interruption.
 */
import { ApiProblem, problemText } from '~/api';
import { canRecord, Microphone, MicrophoneError, type MicrophoneTrouble } from '../audio/microphone';
import { createDecoder, createEncoder, type Decoder, type Encoder } from '../audio/opus';
import { Player } from '../audio/player';
import { follow, type Following } from './feed';
import { packed, unpacked } from './frames';
import * as messages from './messages';
import { toolText } from '~/lib/turn';
import type { Mode, ServerMessage } from './messages';
import { postPhoto } from './photo';
import { access, connect, type Access } from './socket';
import { Tools, type Vision } from './tools';
import { afterEvent, ended, type LiveTurn } from './turn';

export type Phase = 'off' | 'connecting' | 'ready' | 'listening' | 'thinking' | 'speaking';
export type Trouble = MicrophoneTrouble | 'microphone-lost' | 'other-tab' | 'server-lost' | 'refused' | 'over' | 'slow';

export interface Line {
  id: number;
  who: 'you' | 'assistant' | 'tool' | 'notice';
  text: string;
  /** Of a tool: whether it worked, and how long it took. */
  ok?: boolean;
  ms?: number;
}

/** A picture that the assistant asks for. */
export interface PhotoWish {
  question: string;
  take: (photo: Blob) => void;
  refuse: (reason: string) => void;
}

const MAX_LINES = 200;
const RETRY_MS = [300, 1000, 2000, 4000, 8000];
/** The last sounds before the button was let go, in ms. */
const TAIL_MS = 150;
/** Frames that are kept while the connection is made: what was said already. */
const MAX_EARLY = 80;
/** Bytes that the network has not taken yet: 2 s of speech, and 4 s. */
const SLOW_BYTES = 6_000;
const FULL_BYTES = 12_000;
const MANY_GAPS = 3;
/** Longest wait of a written question for the server to ask for the tools, in ms. */
const DISCOVERY_MS = 1500;
const FOLLOWING_MS = 1000;
const VOLUME = 'talk-volume';
/** The close code of a session that is over; any other is a connection that broke, or a server that stops. */
const NORMAL = 1000;

export class Talk {
  phase = $state<Phase>('off');
  mode = $state<Mode>('auto');
  lines = $state.raw<readonly Line[]>([]);
  emotion = $state('neutral');
  volume = $state(Number(localStorage.getItem(VOLUME) ?? 80));
  trouble = $state<Trouble | null>(null);
  /** What the server says of it. */
  detail = $state('');
  device = $state.raw<Access | null>(null);
  turn = $state.raw<LiveTurn | null>(null);
  photo = $state.raw<PhotoWish | null>(null);
  /** True while the microphone is open. */
  recording = $state(false);
  /** True while the button is held, in manual mode. */
  held = $state(false);

  private socket: WebSocket | null = null;
  private session = '';
  /** The conversation that is wanted, until the person or the server ends it: what was begun for an earlier one is dropped. */
  private wanted: AbortController | null = null;
  private opening: Promise<boolean> | null = null;
  private recordingSoon: Promise<Trouble | null> | null = null;
  private player: Player | null = null;
  private microphone: Microphone | null = null;
  private encoder: Encoder | null = null;
  private decoder: Decoder | null = null;
  private early: Float32Array<ArrayBuffer>[] | null = null;
  private takesAudio = false;
  private typedWaits = false;
  private lastLine = 0;
  private following: Following | null = null;
  private readonly tabs = new BroadcastChannel('talk');
  private readonly tools: Tools;

  constructor(
    private readonly name: () => string,
    private readonly language: () => string,
  ) {
    this.tools = new Tools({
      volume: () => this.volume,
      setVolume: (volume) => this.setVolume(volume),
      photo: canRecord() ? (question, vision) => this.takePhoto(question, vision) : undefined,
    });
    this.tabs.onmessage = () => {
      if (this.wanted) this.leave('other-tab');
    };
  }

  // ── what the person does ────────────────────────────────────────────────────────────────────────────────

  /** Hands-free and realtime: begins to talk. */
  async start(): Promise<void> {
    if (!(await this.openEverything())) return;
    if (this.mode !== 'manual') this.listen();
  }

  /** The big button is pressed: talks, interrupts, or begins. */
  press(): void {
    if (this.mode !== 'manual') {
      if (this.phase === 'off') void this.start();
      else if (this.phase === 'speaking' || this.phase === 'thinking') this.interrupt();
      else if (this.phase === 'ready') void this.start();
      return;
    }
    if (this.held) return;
    this.held = true;
    this.early = [];
    void this.talkWhileHeld();
  }

  /** The big button is let go. */
  release(): void {
    if (!this.held) return;
    this.held = false;
    if (this.mode !== 'manual' || this.phase !== 'listening') return;
    setTimeout(() => {
      if (this.phase !== 'listening' || this.held) return;
      this.phase = 'thinking';
      this.send(messages.listen(this.session, 'stop'));
    }, TAIL_MS);
  }

  private async talkWhileHeld(): Promise<void> {
    this.player ??= this.newPlayer();
    if (this.phase === 'speaking' || this.phase === 'thinking') this.interrupt();
    const { signal } = (this.wanted ??= new AbortController());
    if (!(await this.openEverything())) {
      if (!signal.aborted) [this.held, this.early] = [false, null];
      return;
    }
    const said = this.early ?? [];
    this.early = null;
    if (!this.held && said.length < 5) return;
    this.listen();
    for (const frame of said) this.encoder?.encode(frame);
    if (!this.held) {
      this.held = true;
      this.release();
    }
  }

  /** Silence now; whoever listens hands-free is heard again. */
  interrupt(): void {
    const before = this.phase;
    if (before !== 'speaking' && before !== 'thinking') return;
    this.silence();
    this.send(messages.abort(this.session));
    if (before === 'thinking' && this.mode !== 'manual' && this.recording) this.listen();
    else this.phase = this.recording && this.mode !== 'manual' ? 'listening' : 'ready';
  }

  /** Asks by text. */
  async ask(text: string): Promise<boolean> {
    this.player ??= this.newPlayer();
    this.player.resume();
    if (!(await this.open())) return false;
    await this.toolsTold();
    if (!this.socket) return false;
    this.silence();
    this.typedWaits = true;
    this.phase = 'thinking';
    this.send(messages.typed(this.session, text));
    return true;
  }

  /** Until the server knows the tools of a session that has just begun; not for long. */
  private async toolsTold(): Promise<void> {
    const until = Date.now() + DISCOVERY_MS;
    while (this.socket && !this.tools.told && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  setMode(mode: Mode): void {
    if (mode === this.mode) return;
    const talks = this.recording && this.phase !== 'off';
    this.mode = mode;
    // A connection that is being made begins in the mode that is chosen when it is there.
    if (!talks || this.phase === 'connecting' || this.phase === 'speaking' || this.phase === 'thinking') return;
    if (mode === 'manual') {
      this.send(messages.listen(this.session, 'stop'));
      this.phase = 'ready';
    } else this.listen();
  }

  setVolume(volume: number): void {
    this.volume = volume;
    localStorage.setItem(VOLUME, String(volume));
    this.player?.setVolume(volume);
  }

  /** Ends the conversation. */
  end(): void {
    this.send(messages.goodbye(this.session));
    this.leave(null);
  }

  /** Begins a new session, as with another agent. */
  async renew(): Promise<void> {
    if (this.phase === 'off') return;
    this.dropSocket();
    this.silence();
    this.phase = 'connecting';
    if ((await this.open()) && this.recording && this.mode !== 'manual') this.listen();
  }

  /** The device of this browser, made where there is none yet. Raises ApiProblem. */
  async ownDevice(): Promise<Access> {
    return (this.device ??= await access(this.name(), this.language()));
  }

  /** The loudness of both sides, from 0 to 1. */
  levels(): { own: number; its: number } {
    return { own: this.microphone?.level() ?? 0, its: this.player?.level() ?? 0 };
  }

  close(): void {
    this.end();
    this.tabs.close();
    this.player?.close();
    this.player = null;
    this.decoder?.close();
    this.decoder = null;
  }

  // ── opening and closing ─────────────────────────────────────────────────────────────────────────────────

  private newPlayer(): Player {
    const player = new Player(this.volume);
    player.resume();
    return player;
  }

  private async openEverything(): Promise<boolean> {
    this.player ??= this.newPlayer();
    this.player.resume();
    if (this.phase === 'off') this.phase = 'connecting';
    const { signal } = (this.wanted ??= new AbortController());
    const [trouble, connected] = await Promise.all([this.openMicrophone(signal), this.open()]);
    if (signal.aborted) return false;
    // Who can't be heard can write.
    if (trouble && connected) this.trouble = trouble;
    return trouble === null && connected;
  }

  /** Opens the microphone, unless it is open. Returns what is wrong, null when nothing is. */
  private openMicrophone(signal: AbortSignal): Promise<Trouble | null> {
    if (this.microphone) return Promise.resolve(null);
    return (this.recordingSoon ??= this.openMicrophoneOnce(signal));
  }

  private async openMicrophoneOnce(signal: AbortSignal): Promise<Trouble | null> {
    let encoder: Encoder | undefined;
    let trouble: Trouble | null = null;
    try {
      encoder = await createEncoder((packet) => this.sendAudio(packet));
      const microphone = await Microphone.open(
        (frame) => this.heard(frame),
        () => this.loseMicrophone('microphone-lost'),
      );
      // The person may have ended the conversation before allowing it.
      if (signal.aborted) microphone.close();
      else [this.microphone, this.encoder, this.recording] = [microphone, encoder, true];
    } catch (error) {
      trouble = error instanceof MicrophoneError ? error.trouble : 'failed';
    }
    if (signal.aborted || trouble) encoder?.close();
    if (!signal.aborted) this.recordingSoon = null;
    return trouble;
  }

  private loseMicrophone(trouble: Trouble | null): void {
    this.microphone?.close();
    this.microphone = null;
    this.encoder?.close();
    this.encoder = null;
    this.recording = false;
    if (!trouble) return;
    this.trouble = trouble;
    if (this.phase === 'listening') {
      this.send(messages.listen(this.session, 'stop'));
      this.phase = 'ready';
    }
  }

  /** Connects, unless it is. False when that failed, which `trouble` tells. */
  private open(): Promise<boolean> {
    if (this.socket) return Promise.resolve(true);
    const { signal } = (this.wanted ??= new AbortController());
    return (this.opening ??= this.openOnce(signal).finally(() => {
      if (!signal.aborted) this.opening = null;
    }));
  }

  private async openOnce(signal: AbortSignal): Promise<boolean> {
    this.trouble = null;
    this.phase = 'connecting';
    for (let attempt = 0; ; attempt += 1) {
      try {
        const [given] = await Promise.all([access(this.name(), this.language()), this.prepareDecoder()]);
        if (signal.aborted) return false;
        this.device = given;
        this.following ??= follow(given.device_id, (event) => this.told(event));
        this.tabs.postMessage('talking');
        // The first turn is told from its beginning, unless that takes too long.
        await Promise.race([this.following.begun, new Promise((resolve) => setTimeout(resolve, FOLLOWING_MS))]);
        const { socket, session } = await connect(given);
        if (signal.aborted) {
          socket.close();
          return false;
        }
        this.take(socket, session);
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        if (error instanceof ApiProblem && !error.unreachable) {
          this.leave('refused', problemText(error));
          return false;
        }
        this.trouble = 'server-lost';
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
      if (signal.aborted) return false;
    }
  }

  private async prepareDecoder(): Promise<void> {
    this.decoder ??= await createDecoder((samples) => this.player?.push(samples));
  }

  private take(socket: WebSocket, session: string): void {
    this.socket = socket;
    this.session = session;
    this.tools.told = false;
    this.trouble = null;
    this.detail = '';
    this.phase = 'ready';
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      if (typeof event.data === 'string') this.receive(messages.read(event.data));
      else this.play(event.data);
    };
    socket.onclose = (event) => this.lost(event.code);
  }

  private dropSocket(): void {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private lost(code: number): void {
    this.dropSocket();
    this.silence();
    if (code === NORMAL) {
      this.leave('over');
      return;
    }
    this.turn = ended(this.turn);
    // The server went away, or the way to it did: the same conversation goes on when it is back.
    this.held = false;
    void this.open().then((open) => {
      if (open && this.recording && this.mode !== 'manual') this.listen();
    });
  }

  private leave(trouble: Trouble | null, detail = ''): void {
    this.wanted?.abort();
    this.wanted = this.opening = this.recordingSoon = null;
    this.dropSocket();
    this.silence();
    this.turn = ended(this.turn);
    this.loseMicrophone(null);
    this.following?.stop();
    this.following = null;
    this.photo?.refuse('the conversation ended');
    this.held = false;
    this.early = null;
    this.typedWaits = false;
    this.phase = 'off';
    this.emotion = 'neutral';
    this.trouble = trouble;
    this.detail = detail;
  }

  // ── from the person's mouth ─────────────────────────────────────────────────────────────────────────────

  private listen(): void {
    this.send(messages.listen(this.session, 'start', this.mode));
    this.phase = 'listening';
    this.trouble = null;
  }

  private get sends(): boolean {
    if (!this.socket) return false;
    if (this.mode === 'realtime') return this.phase !== 'ready';
    return this.phase === 'listening' || (this.mode === 'auto' && this.phase === 'thinking');
  }

  private heard(frame: Float32Array<ArrayBuffer>): void {
    if (this.early) {
      if (this.early.length < MAX_EARLY) this.early.push(frame);
    } else if (this.sends) this.encoder?.encode(frame);
  }

  private sendAudio(packet: Uint8Array): void {
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount > SLOW_BYTES) this.trouble = 'slow';
    else if (this.trouble === 'slow' && socket.bufferedAmount === 0) this.trouble = null;
    // What would arrive seconds late is of no use any more.
    if (socket.bufferedAmount <= FULL_BYTES) socket.send(packed(packet));
  }

  private send(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // ── from the server ─────────────────────────────────────────────────────────────────────────────────────

  private receive(message: ServerMessage | null): void {
    switch (message?.type) {
      case 'stt':
        if (message.text) this.say('you', message.text);
        if (this.phase === 'listening') this.phase = 'thinking';
        break;
      case 'llm':
        if (message.emotion) this.emotion = message.emotion;
        break;
      case 'tts':
        this.speech(message);
        break;
      case 'mcp':
        void this.tools.answer(message.payload).then((reply) => reply && this.send(messages.mcp(this.session, reply)));
        break;
      case 'alert':
        this.add({ who: 'notice', text: [message.status, message.message].filter(Boolean).join(': ') });
        if (message.emotion) this.emotion = message.emotion;
        break;
      case 'system':
        if (message.command === 'reboot') void this.renew();
        break;
    }
  }

  private speech(message: ServerMessage): void {
    if (message.state === 'start') {
      this.typedWaits = false;
      this.takesAudio = true;
      this.player?.begin();
      this.decoder?.reset();
      this.phase = 'speaking';
      this.add({ who: 'assistant', text: '' });
    } else if (message.state === 'sentence_start' && message.text) {
      this.say('assistant', message.text);
    } else if (message.state === 'stop') {
      if (this.phase !== 'speaking' || !this.takesAudio) {
        if (!this.typedWaits) this.afterSpeech();
        return;
      }
      this.takesAudio = false;
      if ((this.player?.gaps ?? 0) >= MANY_GAPS) this.trouble = 'slow';
      void this.decoder?.flush().then(() => this.player?.finish(() => this.afterSpeech()));
    }
  }

  private play(frame: ArrayBuffer): void {
    const packet = this.takesAudio ? unpacked(frame) : null;
    if (packet) this.decoder?.decode(packet);
  }

  private silence(): void {
    this.takesAudio = false;
    this.player?.stop();
    this.decoder?.reset();
  }

  private afterSpeech(): void {
    if (this.typedWaits || this.held || this.takesAudio || this.phase === 'off' || this.phase === 'connecting') return;
    if (this.mode === 'manual' || !this.recording) this.phase = 'ready';
    else if (this.mode === 'auto' || this.phase === 'ready') this.listen();
    else this.phase = 'listening';
  }

  private told(event: Parameters<typeof afterEvent>[1]): void {
    this.turn = afterEvent(this.turn, event, Date.now());
    if (event.event === 'tool_called') this.add({ who: 'tool', text: toolText(String(event.tool)), ok: event.ok === true, ms: Number(event.duration_ms) });
  }

  private async takePhoto(question: string, vision: Vision): Promise<string> {
    if (this.photo) throw new Error('another picture is being taken');
    try {
      const photo = await new Promise<Blob>((take, fail) => {
        this.photo = { question, take, refuse: (reason) => fail(new Error(reason)) };
      });
      return await postPhoto(vision, this.device?.device_id ?? '', question, photo);
    } finally {
      this.photo = null;
    }
  }

  // ── the transcript ──────────────────────────────────────────────────────────────────────────────────────

  private say(who: 'you' | 'assistant', text: string): void {
    const last = this.lines.at(-1);
    if (last?.who !== who) return this.add({ who, text });
    // The user's words replace those before the pause; an answer goes on.
    const whole = who === 'you' ? text : [last.text, text].filter(Boolean).join(' ');
    this.lines = [...this.lines.slice(0, -1), { ...last, text: whole }];
  }

  private add(line: Omit<Line, 'id'>): void {
    const kept = this.lines.at(-1)?.text === '' ? this.lines.slice(0, -1) : this.lines;
    this.lines = [...kept.slice(1 - MAX_LINES), { id: ++this.lastLine, ...line }];
  }
}
