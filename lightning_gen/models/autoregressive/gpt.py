"""Improving Language Understanding by Generative Pre-Training.

Radford, Narasimhan, Salimans, Sutskever. 2018, of the transformer of Vaswani et al. 2017,
arXiv:1706.03762.
"""

from lightning_gen.models.autoregressive.language import LanguageModule


class GPT(LanguageModule):
    r"""A causal transformer as a language model (equation 1).

    .. math:: L_1(U) = \sum_i \log P(u_i | u_{i - k}, \ldots, u_{i - 1}; \Theta)

    .. math:: h_0 = U W_e + W_p, \quad h_l = block(h_{l - 1}), \quad P(u) = softmax(h_n W_e^T)

    k is the network's length. A sample that is longer is drawn from windows, which move on by half
    of it.

    Note:
        Blocks begin with their layer norms, and those that add to the identity with smaller
        weights, as in GPT-2. Weight decay is of all weights. There is no fine-tuning on tasks.

    References:
        Radford et al., Improving Language Understanding by Generative Pre-Training, 2018.
        Vaswani et al., Attention Is All You Need, 2017, arXiv:1706.03762.
        Radford et al., Language Models are Unsupervised Multitask Learners, 2019 (GPT-2).
    """
