"""Diagrams of the modules that the papers draw, in the language of `plots.diagram`.

Shapes are those of the papers: B clips of T frames from each modality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vvi.book.figures import save_figure
from vvi.plots import diagram, pull


@dataclass(frozen=True)
class Module:
    """A part of a method, as a diagram."""

    #: In the language of `plots.diagram`.
    text: str
    #: What it does, in one or two sentences under the picture.
    caption: str
    #: What a reader who cannot see it needs.
    alt: str


#: "<chapter>/<figure>" -> its diagram.
MODULES = {
    "mitml/tmr": Module(
        """
        A L C G .
        . . . X M
        B B B X M
        A: attention / branch; $f_1$ (2B, T, 2048)
        L: LSTM, / two layers; $h$ (2B, T, 2048)
        C: mean of $f_1^t$ / and $FC^t(h^t)$; (2B, T, 2048)
        G: $W_1^t$, ReLU, / $W_2^t$, $\\sigma$; $a$ (2B, T, 2048)
        B: aggregation branch; $f_2$ (2B, T, 2048) | X: $f_2+a\\odot f_2$; (2B, T, 2048)
        M: mean over / the frames; $F$ (2B, 2048)
        A -> L -> C -> G -> X -> M; A -> C; B -> X
        """,
        "Temporal memory refinement (the paper's Fig. 4): the attention branch "
        "decides how much each channel of the aggregation branch counts, at most "
        "twice as much.",
        "Attention branch through an LSTM to gates, which multiply the aggregation "
        "branch before the mean over frames.",
    ),
    "mitml/players": Module(
        """
        V E F W cls
        I E F W enc
        vis V: visible / clips; (B, T, 3, H, W)
        ir I: infrared / clips; (B, T, 3, H, W)
        E: encoder | F: clip / vectors; $F$ (2B, 2048)
        train W: modality / classifier; (2B, 3)
        loss cls: classifier's step: / the true modality
        loss enc: encoder's step: / the class "neither"
        V, I -> E -> F -> W -> cls, enc; cls -> W; enc -> E
        """,
        "The modality game (the paper's Fig. 3): one output is asked for two things in "
        "turn. Arrows that run back say who moves: the classifier in its own step, the "
        "encoder in the other.",
        "Clips of both modalities pass encoder and modality classifier; one loss moves "
        "the classifier, the other the encoder.",
    ),
    "iban/ig": Module(
        """
        F Q S Y O
        A K S Y .
        A G G Y .
        F: maps of / frames; $F_3$ (2BT, 1024, 18, 9)
        Q: $\\theta$: queries; (2B, 972, 512)
        A: maps of / anaglyphs; $A_3$ (2BT, 1024, 18, 9)
        K: $\\phi$: keys, / pooled; (2B, 216, 512)
        G: $\\gamma$: values, pooled; (2B, 216, 512)
        S: softmax / over keys; (2B, 972, 216) | Y: sum, $W$, / batch norm; (972, 1024)
        O: add; $F_3'$
        F -> Q -> S -> Y -> O; A -> K -> S; A -> G -> Y; F -> O
        """,
        "Intermediary guidance (the paper's Fig. 4): all 972 positions of a clip's "
        "frames attend to 216 positions of its anaglyphs. The sum is added to the "
        "maps, so without the network of anaglyphs the network of frames computes "
        "other maps.",
        "Queries from maps of frames, keys and values from maps of anaglyphs, a "
        "softmax, and the sum added to the maps of frames.",
    ),
    "iban/bsta": Module(
        """
        X L S .
        X . W M
        X R W .
        X: frame / vectors; $x$ (2B, T, 2048) | L: LSTM / forward; $t_1$ (2B, 2048)
        R: LSTM / backward; $t_2$ (2B, 2048) | S: channel gate; $s$ (2B, 2048)
        W: mean of the / two cosines; $w$ (2B, T) | M: weighted mean; $m$ (2B, 2048)
        X -> L -> S -> M; X -> R -> W -> M; L -> W; X -$x$-> W
        """,
        "Bidirectional aggregation (the paper's Fig. 5): a frame counts by its cosine "
        "to a summary from the front and one from the back; the channels are gated by "
        "the forward summary alone.",
        "Frame vectors pass a forward and a backward LSTM; the cosines to both "
        "summaries weigh the frames, the forward one gates the channels.",
    ),
    "sadstrm/asam": Module(
        """
        V F Q S  Z
        I F K S  Z
        . att A f E
        . cov D f E
        vis V: visible stem | ir I: infrared stem
        F: stem maps; $F_c$ (2BT, 64, 72, 36)
        train Q: queries; (2BT, 2592, 32) | train K: keys, values; (2BT, 2592, 32)
        train S: softmax, / weighted sum; (2BT, 2592, 2592)
        train Z: add; (2BT, 64, 72, 36)
        train E: attacker's / encoder | train f: mean, / batch norm; $f$ (2B, 2048)
        train A: classifier / $W_{att}$ | train D: classifier / $W_{def}$, fixed
        loss att: the person | loss cov: undecided
        V, I -> F -> Q, K -> S -> Z -> E -> f -> A, D; A -> att; D -> cov
        """,
        "The attack (the paper's Figs. 2 and 3): self-attention and an encoder of its "
        "own, asked to please one classifier and to puzzle the other. None of it is "
        "used in a search; what remains of the attack are the two stems.",
        "Stem maps through self-attention and the attacker's encoder to two "
        "classifiers: one shall know the person, one shall be undecided.",
    ),
    "sadstrm/cmca": Module(
        """
        X Q S Y O
        P K S Y .
        P G G Y .
        vis X: a visible / frame; (2048, 18, 9)
        ir P: the infrared / frame of the / same number; (2048, 18, 9)
        Q: $\\theta$: queries; (162, 1024) | K: $\\phi$: keys; (162, 1024)
        G: $g$: values; (162, 1024) | S: softmax / over keys; (162, 162)
        Y: sum, $w$, / batch norm; (2048, 18, 9) | O: add; (2048, 18, 9)
        X -> Q -> S -> Y -> O; P -> K -> S; P -> G -> Y; X -> O
        """,
        "The defence's attention (CMCA, the paper's Fig. 4): a visible frame takes "
        "over what the infrared frame of the same number shows, and the other way "
        "round with the same weights. The second input is what a search does not "
        "have.",
        "A visible frame gives queries, an infrared frame gives keys and values; the "
        "weighted sum is added to the visible frame.",
    ),
    "sadstrm/stig": Module(
        """
        F K L  S
        . K G  G
        . K J  C
        F: maps; $F_d$ (2BT, 2048, 18, 9) | K: six stripes; $f$ (2B, T, 6, 2048)
        L: LSTM over / frames; $m$ (2B, T, 6, 2048)
        S: LSTM over / stripes; $s$ (2B, 2048)
        G: $LM_1$, ReLU, $LM_2$, $\\sigma$; $A$ (2B, T, 6, 2048)
        J: mean over frames / of $f\\odot A+m$; $j$ (2B, 6, 2048)
        C: six in a row: / embedding; (2B, 12288)
        F -> K -> L -> S -> G -> J -> C; K -> G; K -> J
        """,
        "Stripes in space and time (FRM-STIG, the paper's Fig. 5): time first, stripe "
        "by stripe, then space, from head to feet. Maps are cut before the attention, "
        "so this branch needs no partner.",
        "Maps are cut into six stripes; one LSTM reads each over the frames, one reads "
        "the stripes, and its output gates the stripes.",
    ),
    "di2l/extractor": Module(
        """
        A B C
        F E D
        A: stage 1; (3BT, 256, 72, 36) | B: stage 2; (3BT, 512, 36, 18)
        C: non-local block: / 648 positions; (3BT, 512, 36, 18)
        D: stage 3; (3BT, 1024, 18, 9)
        E: non-local block: / 162 positions; (3BT, 1024, 18, 9)
        F: stage 4; $X$ (3BT, 2048, 18, 9)
        A -> B -> C -> D -> E -> F
        """,
        "The shared extractor (the paper's Fig. 1b): all three streams pass the same "
        "four stages and the same two non-local blocks.",
        "Four stages in a row, a non-local block after the second and after the third.",
    ),
    "di2l/dpa": Module(
        """
        X P U S Y
        . P V S Y
        . P Z Z Y
        G N N B B
        X: maps; $X$ (3BT, 2048, 18, 9)
        P: p stripes, / mean of / frames; (3B, p, 2048)
        U: $u$; (3B, p, 2048) | V: $v$; (3B, p, 2048) | Z: $z$: linear; (3B, p, 2048)
        S: softmax; $\\alpha$ (3B, p, p)
        Y: sums, / weighed by / shares $s_i$; (3B, 2048)
        G: GeM, mean / of frames; $g$ (3B, 2048) | N: batch norm; $f$ (3B, 2048)
        B: add, batch norm: embedding; $\\hat x$ (3B, 2048)
        X -> P -> U, V -> S -> Y -> B; P -> Z -> Y; X -> G -> N -> B
        """,
        "Part attention (DPA, the paper's Fig. 1d): stripes attend to stripes, and "
        "their weighted sum is only added to the global feature. If the softmax picks "
        "one stripe for all, nothing is related.",
        "Stripes of the last maps attend to each other; their weighted sum is added to "
        "the normed global feature.",
    ),
    "cmft/ccf": Module(
        """
        R GR A1 C
        F .  .  C
        I GI A2 C
        vis R: visible maps; $Z_r^s$ (BT, n, d)
        ir I: infrared maps; $Z_i^s$ (BT, n, d)
        train F: fused maps of / the stage before; $z_f^{s-1}$
        vis train GR: gated; $Z_r^s\\odot z_f^{s-1}$
        ir train GI: gated; $Z_i^s\\odot z_f^{s-1}$
        train A1: attention / and residual; $z_{ri}$ (BT, n, d)
        train A2: attention / and residual; $z_{ir}$ (BT, n, d)
        train C: side by side, / FC and residual; $z_f^s$ (BT, n, 2d)
        R -> GR -queries-> A1 -> C; I -> GI -queries-> A2 -> C
        F -> GR, GI; GR -> A2; GI -> A1
        """,
        "A fusion block (CCF, the paper's Fig. 4) at stage s, with n positions of "
        "width d: each modality asks the other. Arrows that cross carry keys and "
        "values. The block reads the streams and never writes back.",
        "Maps of both modalities are gated by the fused maps of the stage before, "
        "attend to each other, and are joined.",
    ),
    "cmft/fusions": Module(
        """
        V1 D1 S S S1 ; I1 D2 S S S1
        V2 D3 F F S2 ; I2 D4 F F S2
        V3 D5 B5 B6 S3 ; I3 D6 B5 B6 S3
        vis V1: visible / clip | ir I1: infrared / clip | D1: stream; (B, 2048)
        D2: stream; (B, 2048)
        S: two scores | S1: late: mean / of scores
        vis V2: visible / clip | ir I2: infrared / clip | D3: stream; (B, 2048)
        D4: stream; (B, 2048)
        F: side by side; (B, 4096) | S2: one scale: / one score
        vis V3: visible / clip | ir I3: infrared / clip
        D5: stages 2 to 5; (BT, 1024, 16, 8)
        D6: stages 2 to 5; (BT, 1024, 16, 8) | B5: block at / stage 5; (BT, 2048, 16, 8)
        B6: block at / stage 6; (BT, 2048, 16, 8) | S3: cascade: / one score
        V1 -> D1 -> S; I1 -> D2 -> S; S -> S1; V2 -> D3 -> F; I2 -> D4 -> F; F -> S2
        V3 -> D5 -> B5; I3 -> D6 -> B5; B5 -> B6 -> S3
        """,
        "Three ways to fuse (the paper's Fig. 2): scores at the very end, features at "
        "one scale, or maps from stage 5 on. All three need a clip of either "
        "modality.",
        "Three small networks one below the other: mean of two scores, features side "
        "by side, and a cascade of fusion blocks.",
    ),
}


def show(name: str) -> Figure:
    """Draw a module, save it, and return the figure for the page.

    Raises:
        KeyError: a name that is not in `MODULES`.
    """
    module = MODULES[name]
    fig = diagram.draw(module.text, caption=module.caption)
    return save_figure(fig, name, (), module.alt)


def easy_and_hard() -> Figure:
    """Draw a made-up batch, pulled by its easy sample and by its hard one."""
    ids = np.array([1, 1, 2, 2, 3, 3])
    vis = np.array([[1, 4.2], [3.4, 4.6], [0.6, 1.2], [2, 0.3], [4.6, 1], [5.4, 2.6]])
    ir = np.array([[2, 3], [2.6, 3], [1.6, 2], [2.8, 1], [4, 2], [4.8, 3.4]])
    distance = np.linalg.norm(vis - ir[0], axis=1)
    chosen = {
        "IBAN: the easy sample pulls": (0, int(distance.argmin())),
        "instead: the hard sample pulls": (0, int(distance.argmax())),
    }
    caption = (
        "Six visible and six infrared clips of three people, made up (after the "
        "paper's Fig. 6). All visible clips move to the one that is nearest to the "
        "query (left) or to the farthest (right). Clips of other people (dashed) come "
        "along either way."
    )
    fig = pull.draw(vis, ir, ids, chosen, caption, target="pulls")
    alt = (
        "A batch in a plane, pulled to its easy sample at the left, hard at the right."
    )
    return save_figure(fig, "iban/easy_and_hard", (), alt)
