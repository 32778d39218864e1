"""The sentences of the offline assistant as a JSGF grammar, in American English spelling.

Every word is in the dictionary of pocketsphinx's English model. What the assistant is to hear reliably is a
sentence here; anything else is left to the general model. Levels are mostly round, and weighted so: without
that a noisy "forty" is heard as "forty eight". Numbers end at 999 and at thousands, since a large
grammar is slow: this one takes 50 ms to compile and a twelfth of real time to search.
"""

NAME = "commands"
"""The rule set's name in the decoder."""

GRAMMAR = """#JSGF V1.0;
grammar commands;

<digit> = one | two | three | four | five | six | seven | eight | nine;
<teen> = ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen | nineteen;
<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
<small> = zero | <digit> | <teen> | <tens> [<digit>];
<number> = [(a | <digit>) hundred [and]] <small> | (a | <digit>) (hundred | thousand);
<decimal> = <number> [point <digit>];

<operation> = plus | minus | times | divided by | multiplied by;
<value> = <decimal> (<operation> <decimal> | squared | percent of <decimal>)
  | the square root of <number> | half of <number>;
<sum> = (what is | what's | how much is | calculate) <value>;

<unit> = second | seconds | minute | minutes | hour | hours;
<duration> = <small> [and a half] <unit> | a minute | an hour | half an hour | one hour and <small> minutes;
<timer> = timer | alarm;
<set_timer> = (set | start) (a | the | another) [new] <timer> for <duration>
  | (set | start) a <small> (second | minute | hour) <timer>;
<cancel_timer> = (cancel | stop | delete | clear) (the | my | all) (timer | timers | alarm | alarms);
<list_timers> = how much time is left [on the timer] | how long is left on the timer
  | what timers are (running | set) | what timers do i have | list (my | the | all) timers;

<time> = what time is it [now] | what is the time [now] | what's the time [now] | tell me the time
  | do you know what time it is;
<date> = what is the date [today] | what's the date [today] | what is today's date | what's today's date
  | what day is it [today] | what day is today | tell me the date | what year is it | what month is it;

<level> = volume | brightness;
<round> = zero | five | ten | fifteen | <tens> [five] | a hundred | one hundred;
<percent> = /0.999/ <round> | /0.001/ <small>;
<set_level> = (set | turn) the <level> to <percent> [percent] | set <level> to <percent> [percent]
  | (maximum | minimum | full) <level> | mute | mute the (sound | volume);
<change_level> = turn (the <level> | it) (up | down) | turn (up | down) the <level>
  | (raise | lower | increase | decrease) the <level> | <level> (up | down)
  | make it (louder | quieter | brighter | darker) | louder | quieter | brighter | darker
  | (louder | quieter) please | speak (louder | quieter) | make the screen (brighter | darker)
  | dim the screen;
<tell_level> = (what is | what's | how loud is) the <level> | how much battery is left;

<joke> = tell me (a | another) joke | another joke [please] | make me laugh | say something funny;
<help> = help [me] | what can you do | what can i (say | ask) | how can you help me;
<talk> = hello | hello there | hi | hi there | good (morning | afternoon | evening | night)
  | how are you [doing] [today] | nice to meet you | can you hear me | i love you
  | you are (great | nice | funny | smart) | well done | are you a robot | how old are you
  | where are you from | who made you | never mind | yes | no;
<bye> = goodbye | bye bye | see you later | see you tomorrow | that's all | stop talking;
<thanks> = thank you [very much | so much] | thanks [a lot];
<who> = who are you | what are you | what's your name | what is your name | tell me about yourself;

<request> = <time> | <date> | <sum> | <set_timer> | <cancel_timer> | <list_timers> | <set_level>
  | <change_level> | <tell_level> | <joke> | <help>;
<courtesy> = hello | please | can you | can you please | could you | could you please | okay;
public <top> = /0.3/ <request> | /0.017/ <request> please | /0.017/ <courtesy> <request>
  | /0.167/ <talk> | /0.167/ <bye> | /0.166/ <thanks> | /0.166/ <who>;
"""
"""Public rule `top`. A request may have a few words of courtesy around it, at a price."""
