from .tracker import TensorBoard as TensorBoard
