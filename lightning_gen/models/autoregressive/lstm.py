"""Long Short-Term Memory.

Hochreiter, Schmidhuber. 1997, doi:10.1162/neco.1997.9.8.1735; as a model of text that is drawn from
token by token, Graves. Generating Sequences With Recurrent Neural Networks. 2013, arXiv:1308.0850.
"""

from lightning_gen.models.autoregressive.language import LanguageModule


class LSTM(LanguageModule):
    r"""A recurrent network whose cells hold what they were told, as a language model.

    .. math::
        i_t, f_t, o_t = \sigma(W [x_t, h_{t - 1}] + b), \quad
        c_t = f_t c_{t - 1} + i_t \tanh(W_c [x_t, h_{t - 1}] + b_c), \quad h_t = o_t \tanh(c_t)

    .. math:: \log p(x) = \sum_t \log softmax(W_y h_t)_{x_{t + 1}}

    A sample may be of any length.

    Note:
        Gates have no peepholes. Cells begin at zero in each window, where Graves carries them on;
        gradients are clipped by their norm, not one by one. The gate that forgets begins open.

    References:
        Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, doi:10.1162/neco.1997.9.8.1735.
        Graves, Generating Sequences With Recurrent Neural Networks, 2013, arXiv:1308.0850.
        Gers, Schmidhuber, Cummins, Learning to Forget, 2000, doi:10.1162/089976600300015015.
    """
